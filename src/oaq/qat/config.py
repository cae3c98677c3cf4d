"""How to train: frozen values that round-trip to YAML; what is unknown or contradictory is an error."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, cast

from oaq.choose.target import Target
from oaq.errors import ConfigError
from oaq.numerics.requantize import SEMANTICS, Semantics
from oaq.ptq.clip import CALIBRATIONS, ClipMethod
from oaq.ptq.daq import Daq
from oaq.qat.dither import Dither
from oaq.qat.prune import Prune
from oaq.qat.wrap import Wrapping, check_wrap_bits

Method = Literal["oaq", "oaq-clip", "a2q", "a2q+", "proved", "wrap", "none"]
METHODS: Final[Mapping[str, str]] = {
    "oaq": "ranges shrink by the paper's rule until no overflow is counted (observed, not proved)",
    "oaq-clip": "one integer clip per layer for weights and operands falls until no overflow is counted (observed)",
    "a2q": "the l1 norm of every output's weights is bounded (one register for all of K)",
    "a2q+": "the same for weights of zero mean, whose bound is twice as wide",
    "proved": "every register's exact bound is kept by projection and budgeted rounding",
    "wrap": "sums count modulo 2**bits, by design: a cyclic activation trains through the wrap",
    "none": "learned scales only; overflows are whatever they are",
}
TRACKING: Final = ("oaq",)
"""Methods whose scales follow observed ranges unless ``Config.ranges`` says otherwise; the others learn theirs."""
NORMS: Final = ("a2q", "a2q+")
"""Methods that bound a norm of all of K."""
PROMISING: Final = ("proved", *NORMS)
"""Methods whose programs keep their accumulators, proved."""
FEWEST_BITS: Final = 2
DEFAULT_TARGET: Final = Target()
DEFAULT_WRAPPING: Final = Wrapping()
T = TypeVar("T")


@dataclass(frozen=True)
class LayerRule:
    """What the layers whose name matches ``pattern`` do differently; of several rules the last wins, field by field.

    Attributes:
        pattern: a regular expression for the whole name of a layer.
        weight_bits: of its weights.
        activation_bits: of the tensor it reads; where readers of one tensor differ, the most bits count.
        target: its accumulator.
        exempt: True: it sums in 32 bits, and the verdict on the program says so; False: it does not, whatever
            ``Config.first_last_exempt`` says. For "wrap": whether it sums in 32 bits instead of wrapping.
        wrap_bits: of its register, for "wrap".
    """

    pattern: str
    weight_bits: int | None = None
    activation_bits: int | None = None
    target: Target | None = None
    exempt: bool | None = None
    wrap_bits: int | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(f"layers: {self.pattern!r} is not a regular expression: {error}") from error
        for name in ("weight_bits", "activation_bits"):
            if getattr(self, name) is not None:
                check_bits(getattr(self, name), f"layers, {self.pattern!r}: {name}")
        if self.wrap_bits is not None:
            check_wrap_bits(self.wrap_bits, f"layers, {self.pattern!r}: wrap_bits")


@dataclass(frozen=True)
class Config:
    """Everything about quantization-aware training that is not the training loop.

    Attributes:
        method: see ``METHODS``.
        weight_bits: 2..8; weights lie in [-c, c], c = 2**(bits - 1) - 1.
        activation_bits: 2..8; operands lie in [0, 2**bits - 1].
        target: the accumulator to be kept ("proved", "a2q", "a2q+") or counted under ("oaq", "oaq-clip").
        count: what an overflow is for "oaq" and "oaq-clip": "final": the sum over all of K leaves 16 bits (the paper);
            "register": a lane or pair of ``target`` is left.
        layers: exceptions, in order.
        first_last_bits: bits of weights and operands of layers that read an input or write an output of the network;
            None: like all others.
        first_last_exempt: those layers sum in 32 bits.
        batch_norm: "fold": the statistics of the float network are folded for good; "reestimate": convolutions keep
            their own, which follow the integer sums and are folded into scale and bias by ``convert``; "levels": the
            same for heads that several levels share (2007.06919): refused where levels have one batch norm together.
            Convolutions that share weights have integers together in any case, and keep the batch norms that they had:
            none, one for all, or one each.
        calibration: how ranges are chosen before training.
        equalize: bring channels of a tensor to like size first, where the network allows it.
        penalty: weight of the regulariser of "a2q" and "a2q+".
        ranges: where scales come from. "observed": the largest values seen, as the paper has it, which wastes steps
            below 8 bits; "learned": they are parameters; None: "observed" for "oaq", "learned" for all others.
        adaptive: for methods that promise an accumulator: operands begin with fewer steps than ``activation_bits``
            allows where that leaves less error in the sums: fewer steps buy larger weights. None: for "proved".
        daq: few levels for each channel that chosen layers read, with ``daq.weight_bits`` of symmetric weights; static
            levels stay where calibration has them, and the weights learn around them. Method "none" only.
        wrapping: the register of "wrap", and the slope of its activation. Layers that read an input or write an output
            sum in 32 bits, unless a rule says ``exempt: false``.
        prune: which weights become zero for good, and when (``oaq.qat.prune_to`` does it); None: none.
        weight_grid: "centred": integers in [-c, c]; "odd": below 8 bits the 2**bits odd ones in [1 - 2**bits,
            2**bits - 1], without 0 (2007.06919). Method "none" only.
        wide_residuals: what an addition reads keeps 8 bits; layers that read it too do so through a table to their own.
        requantize: semantics of every requantizing node: "fixed_point" computes with integers alone.
        dither: gradients of sums become few small integers times a step, without bias; None: they stay as they are.
    """

    method: Method = "proved"
    weight_bits: int = 8
    activation_bits: int = 8
    target: Target = DEFAULT_TARGET
    count: Literal["final", "register"] = "final"
    layers: tuple[LayerRule, ...] = ()
    first_last_bits: int | None = 8
    first_last_exempt: bool = False
    batch_norm: Literal["fold", "reestimate", "levels"] = "fold"
    calibration: ClipMethod = "mse"
    equalize: bool = False
    penalty: float = 1e-3
    ranges: Literal["observed", "learned"] | None = None
    adaptive: bool | None = None
    daq: Daq | None = None
    wrapping: Wrapping = DEFAULT_WRAPPING
    prune: Prune | None = None
    weight_grid: Literal["centred", "odd"] = "centred"
    wide_residuals: bool = False
    dither: Dither | None = None
    requantize: Semantics = "float32_half_even"

    def __post_init__(self) -> None:
        for value, allowed, setting in (
            (self.method, METHODS, "method"),
            (self.count, ("final", "register"), "count"),
            (self.batch_norm, ("fold", "reestimate", "levels"), "batch_norm"),
            (self.weight_grid, ("centred", "odd"), "weight_grid"),
            (self.requantize, SEMANTICS, "requantize"),
            (self.calibration, CALIBRATIONS, "calibration"),
            (self.ranges, (None, "observed", "learned"), "ranges"),
        ):
            if value not in allowed:
                raise ConfigError(f"{setting} is one of {', '.join(map(str, allowed))}, not {value!r}")
        if self.ranges == "observed" and self.method in NORMS:
            raise ConfigError(f"{self.method} learns its scales together with its norms: leave ranges at None")
        if self.method == "wrap" and self.ranges == "observed":
            raise ConfigError("wrap learns its scales: leave ranges at None")
        if self.weight_grid == "odd" and self.method != "none":
            raise ConfigError(f"weight_grid odd has no 0 to round to, which method {self.method!r} needs: use 'none'")
        if self.method != "wrap" and any(rule.wrap_bits is not None for rule in self.layers):
            raise ConfigError(f"layers: wrap_bits are of method 'wrap', not of {self.method!r}")
        if self.adaptive and (self.method not in PROMISING or self.tracks):
            raise ConfigError(
                f"adaptive ranges are learned, and chosen for an accumulator that is promised "
                f"({', '.join(PROMISING)}); {self.method} adapts its own or promises none"
            )
        if self.daq is not None and (self.method != "none" or self.tracks or self.daq.weights != "symmetric"):
            raise ConfigError(
                f"daq trains with method none, learned ranges and symmetric weights; not {self.method}, "
                f"{'observed' if self.tracks else 'learned'}, {self.daq.weights}"
            )
        check_bits(self.weight_bits, "weight_bits")
        check_bits(self.activation_bits, "activation_bits")
        if self.first_last_bits is not None:
            check_bits(self.first_last_bits, "first_last_bits")
        if not 0.0 <= self.penalty < float("inf"):
            raise ConfigError(f"penalty is at least 0, not {self.penalty!r}")
        for target in (self.target, *(rule.target for rule in self.layers if rule.target is not None)):
            if self.method in NORMS and (target.register != "pure" or target.run is not None):
                raise ConfigError(
                    f"{self.method} bounds the norm of all of K, so its target is a pure register without runs, not "
                    f"{target}; 16 pure bits hold every 16-bit lane too. Method 'proved' knows lanes and runs"
                )

    @property
    def narrows(self) -> bool:
        """True iff operands may begin with fewer steps than their bits allow."""
        return self.method == "proved" and not self.tracks if self.adaptive is None else self.adaptive

    @property
    def tracks(self) -> bool:
        """True iff scales follow observed ranges, False iff they are learned."""
        return self.method in TRACKING if self.ranges is None else self.ranges == "observed"


@dataclass(frozen=True)
class LayerSettings:
    """What one layer gets.

    Attributes:
        weight_bits: of its weights.
        activation_bits: of the tensor it reads.
        target: its accumulator; None: exempt, it sums in 32 bits, or it wraps.
        wrapping: the register its sums may leave; None: they are exact.
    """

    weight_bits: int
    activation_bits: int
    target: Target | None
    wrapping: Wrapping | None = None


def settings(config: Config, name: str, *, at_an_end: bool) -> LayerSettings:
    """The settings of the layer ``name``; ``at_an_end``: it reads an input of the network or writes an output."""
    bits = config.first_last_bits if at_an_end and config.first_last_bits is not None else None
    weight_bits = bits if bits is not None else config.weight_bits
    activation_bits = bits if bits is not None else config.activation_bits
    wraps, wrap_bits = config.method == "wrap", config.wrapping.bits
    target, exempt = config.target, at_an_end and (config.first_last_exempt or wraps)
    for rule in config.layers:
        if re.fullmatch(rule.pattern, name):
            weight_bits = weight_bits if rule.weight_bits is None else rule.weight_bits
            activation_bits = activation_bits if rule.activation_bits is None else rule.activation_bits
            target = target if rule.target is None else rule.target
            exempt = exempt if rule.exempt is None else rule.exempt
            wrap_bits = wrap_bits if rule.wrap_bits is None else rule.wrap_bits
    if wraps:
        wrapping = None if exempt else Wrapping(wrap_bits, config.wrapping.slope)
        return LayerSettings(weight_bits, activation_bits, None, wrapping)
    return LayerSettings(weight_bits, activation_bits, None if exempt else target)


def check_bits(value: object, name: str) -> None:
    """Raise a ``ConfigError`` unless ``value`` is a number of bits an operand can have."""
    if type(value) is not int or not FEWEST_BITS <= value <= 8:
        raise ConfigError(f"{name}: {FEWEST_BITS} to 8 bits, not {value!r}")


def to_yaml(value: Any) -> str:  # noqa: ANN401 (any frozen dataclass of plain fields)
    """A config (or any dataclass of plain values and dataclasses) as YAML; ``from_yaml`` reads it back equal."""
    import yaml

    return yaml.safe_dump(_plain(value), sort_keys=False)


def from_yaml(text: str, kind: type[T]) -> T:
    """A dataclass from YAML.

    Raises:
        ConfigError: it is no YAML, a key is unknown, or a value is of the wrong type or out of range.
    """
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"this is no YAML: {' '.join(str(error).split())}") from error
    return from_plain({} if content is None else content, kind)


def from_plain(content: object, kind: type[T], where: str = "") -> T:
    """A dataclass from nested dictionaries and lists; errors as ``from_yaml``."""
    place = where or kind.__name__
    if not isinstance(content, dict):
        raise ConfigError(f"{place}: keys and values are expected, not {type(content).__name__}")
    hints = typing.get_type_hints(kind)
    unknown = [str(key) for key in content if key not in hints]
    if unknown:
        raise ConfigError(f"{place}: no setting is called {', '.join(unknown)}; there are {', '.join(hints)}")
    values = {key: _value(value, hints[key], f"{place}.{key}") for key, value in content.items()}
    missing = [
        field.name
        for field in dataclasses.fields(cast(Any, kind))
        if field.name not in values and field.default is field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{place}: {', '.join(missing)} must be given")
    return kind(**values)


def _plain(value: Any) -> Any:  # noqa: ANN401
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _value(value: object, hint: Any, where: str) -> Any:  # noqa: ANN401
    """``value`` as ``hint`` says, or a ``ConfigError``."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _value(value, next(argument for argument in arguments if argument is not type(None)), where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: a list is expected, not {value!r}")
        return tuple(_value(item, arguments[0], f"{where}[{index}]") for index, item in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return from_plain(value, cast(Any, hint), where)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where} is one of {', '.join(map(str, arguments))}, not {value!r}")
        return value
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ConfigError(f"{where}: {hint.__name__} is expected, not {value!r}")
    return value
