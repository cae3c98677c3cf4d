"""Settings: YAML and back, and one clear error for whatever is no setting."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaq.choose.target import Target
from oaq.errors import ConfigError
from oaq.qat import METHODS, Config, LayerRule, from_yaml, to_yaml
from oaq.qat.config import Method, settings

BITS = st.integers(2, 8)
PURE = st.builds(Target, st.just("pure"), st.integers(8, 32), st.none())
TARGETS = PURE | st.builds(Target, st.sampled_from(("avx2", "neon")), st.just(16), st.none() | st.integers(1, 64))
PATTERNS = st.sampled_from((r".*", r"layer\d+\.conv", "0", "ärger: [x]"))


def rules(targets: st.SearchStrategy[Target]) -> st.SearchStrategy[LayerRule]:
    return st.builds(
        LayerRule,
        PATTERNS,
        st.none() | BITS,
        st.none() | BITS,
        st.none() | targets,
        st.sampled_from((None, True, False)),
    )


RANGES = {"a2q": (None, "learned"), "a2q+": (None, "learned"), "wrap": (None, "learned")}
"""Where ranges of operands may come from, of methods that do not take every way."""


@st.composite
def configs(draw: st.DrawFn) -> Config:
    method = draw(st.sampled_from(get_args(Method)))
    targets = PURE if method.startswith("a2q") else TARGETS
    return Config(
        method,
        draw(BITS),
        draw(BITS),
        draw(targets),
        draw(st.sampled_from(("final", "register"))),
        tuple(draw(st.lists(rules(targets), max_size=3))),
        draw(st.none() | BITS),
        draw(st.booleans()),
        draw(st.sampled_from(("fold", "reestimate"))),
        draw(st.sampled_from(("mse", "minmax", "percentile"))),
        draw(st.booleans()),
        draw(st.floats(0, 1e6)),
        draw(st.sampled_from(RANGES.get(method, (None, "observed", "learned")))),
        draw(st.none() | st.just(False)),
    )


@given(configs())
def test_a_config_comes_back_from_yaml_equal(config: Config) -> None:
    assert from_yaml(to_yaml(config), Config) == config


def test_every_method_has_its_words() -> None:
    assert tuple(METHODS) == get_args(Method)


def test_nothing_is_the_default_config() -> None:
    assert from_yaml("", Config) == Config()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("methd: oaq", "Config: no setting is called methd; there are method, weight_bits"),
        ("method: magic", r"Config\.method is one of oaq, oaq-clip, a2q, a2q\+, proved, wrap, none, not 'magic'"),
        ("weight_bits: '8'", r"Config\.weight_bits: int is expected, not '8'"),
        ("weight_bits: true", r"Config\.weight_bits: int is expected, not True"),
        ("weight_bits: 9", "weight_bits: 2 to 8 bits, not 9"),
        ("activation_bits: 1", "activation_bits: 2 to 8 bits, not 1"),
        ("first_last_bits: 12", "first_last_bits: 2 to 8 bits, not 12"),
        ("penalty: -1", r"penalty is at least 0, not -1\.0"),
        ("penalty: .nan", "penalty is at least 0, not nan"),
        ("target: {register: avx3}", r"Config\.target\.register is one of pure, avx2, neon, not 'avx3'"),
        ("target: {register: avx2, bits: 12}", "lanes of avx2 have 16 bits, not 12"),
        ("target: {register: pure, bits: 33}", "8 to 32 bits, not 33"),
        ("target: {run: 0}", "run is at least 1 step, or None"),
        ("target: 16", r"Config\.target: keys and values are expected, not int"),
        ("layers: {a: 1}", r"Config\.layers: a list is expected"),
        ("layers: [{weight_bits: 4}]", r"Config\.layers\[0\]: pattern must be given"),
        ("layers: [{pattern: '('}]", r"layers: '\(' is not a regular expression"),
        ("layers: [{pattern: x, weight_bits: 1}]", "layers, 'x': weight_bits: 2 to 8 bits, not 1"),
        ("ranges: seen", r"Config\.ranges is one of observed, learned, not 'seen'"),
        ("method: a2q\ntarget: {register: pure}\nranges: observed", "a2q learns its scales together with its norms"),
        ("method: oaq\nadaptive: true", r"accumulator that is promised \(proved, a2q, a2q\+\); oaq adapts its own"),
        ("ranges: observed\nadaptive: true", "adaptive ranges are learned, and chosen for an accumulator"),
        ("method: a2q\ntarget: {register: avx2}", "a2q bounds the norm of all of K, so its target is a pure register"),
        ("- 1", "Config: keys and values are expected, not list"),
        ("a: [", "this is no YAML"),
    ],
)
def test_what_is_no_setting_is_one_error_that_names_it(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_yaml(text, Config)


def test_an_unknown_method_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match=r"method is one of oaq, oaq-clip, a2q, a2q\+, proved, wrap, none, not 'oak'"):
        Config("oak")  # type: ignore[arg-type]


def test_of_several_rules_the_last_wins_field_by_field() -> None:
    config = Config(
        layers=(LayerRule(".*", weight_bits=6, activation_bits=7), LayerRule("b", weight_bits=4, exempt=True)),
        first_last_bits=8,
        first_last_exempt=True,
    )
    inner, end = settings(config, "a", at_an_end=False), settings(config, "b", at_an_end=True)
    assert (inner.weight_bits, inner.activation_bits, inner.target) == (6, 7, config.target)
    assert (end.weight_bits, end.activation_bits, end.target) == (4, 7, None)
    kept = Config(first_last_exempt=True, layers=(LayerRule("b", exempt=False),))
    assert settings(kept, "b", at_an_end=True).target == kept.target
    assert settings(kept, "a", at_an_end=True).target is None
