"""Weights of dynamic layers: budgets are kept, and nothing is worse than 7 bits."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.dynamic import DynamicLayer, plan_layer
from oaq.dynamic.weights import choose_weights, narrow_register
from oaq.errors import CalibrationError, ConfigError, NoKernel
from oaq.numerics.accumulator import AVX2_ACC32


def reals(shape: tuple[int, int], seed: int = 0, kind: str = "normal") -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) if kind == "normal" else rng.uniform(-1, 1, shape)


def error(weight: np.ndarray, scale: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return ((weight * scale.astype(np.float64)[:, None] - rows) ** 2).sum(axis=1)


def fullest_pair(weight: np.ndarray) -> int:
    padded = np.pad(weight.astype(np.int64), ((0, 0), (0, weight.shape[1] % 2)))
    pairs = padded.reshape(len(weight), -1, 2)
    return int(max(np.maximum(pairs, 0).sum(axis=2).max(), np.maximum(-pairs, 0).sum(axis=2).max()))


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5, 7), (40, 64)])
def test_pairs_keep_128_and_no_output_is_worse_than_7_bits(shape: tuple[int, int], kind: str) -> None:
    rows = reals(shape, kind=kind)
    chosen = choose_weights(rows, AVX2_ACC32)
    assert fullest_pair(chosen.weight) <= 128
    seven = choose_weights(rows, None, 7)
    assert np.all(
        error(chosen.weight, chosen.scale, rows) <= error(seven.weight, seven.scale, rows) * (1 + 1e-6) + 1e-12
    )


def test_chosen_weights_are_issued_once_on_pairs() -> None:
    chosen = choose_weights(reals((33, 50), kind="uniform"), AVX2_ACC32)
    plan = plan_layer(DynamicLayer("l", chosen.weight, chosen.scale), rows="gemm_u8s8_avx2_acc32")
    assert plan.node.schedule is not None and plan.node.schedule.splits == 0


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_weights_have_the_bits_asked_for_and_are_symmetric(bits: int) -> None:
    weight = choose_weights(reals((8, 32)), None, bits).weight
    assert np.abs(weight.astype(int)).max() == 2 ** (bits - 1) - 1


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_weights_of_a_target_are_issued_once_two_quads_at_a_time(kind: str) -> None:
    register = narrow_register("avx2")
    assert register is not None
    for shape in ((1, 1), (5, 7), (40, 64)):
        chosen = choose_weights(reals(shape, kind=kind), register)
        plan = plan_layer(DynamicLayer("l", chosen.weight, chosen.scale), rows="gemm_u8s8_avx2_acc32x2")
        assert plan.node.schedule is not None and plan.node.schedule.splits == 0
    assert plan_layer(DynamicLayer("l", chosen.weight, chosen.scale), "avx2").row.name == "gemm_u8s8_avx2_acc32x2"


def test_without_a_narrow_register_weights_are_the_nearest_of_8_bits() -> None:
    rows = reals((4, 16))
    chosen = choose_weights(rows)
    assert np.array_equal(chosen.weight, np.rint(rows / chosen.scale.astype(np.float64)[:, None]))


def test_zeros_stay_zeros() -> None:
    chosen = choose_weights(np.zeros((2, 5)), AVX2_ACC32)
    assert not chosen.weight.any() and np.all(chosen.scale > 0)


def test_errors_are_fed_back_inside_the_budget_where_inputs_are_correlated() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 32)) + rng.normal(size=(4000, 32)) * 0.1
    covariance = np.cov(x.T, bias=True)
    rows = reals((16, 32))
    fed, plain = choose_weights(rows, AVX2_ACC32, covariance=covariance), choose_weights(rows, AVX2_ACC32)
    assert fullest_pair(fed.weight) <= 128

    def loss(chosen: object) -> float:
        off = chosen.weight * chosen.scale.astype(np.float64)[:, None] - rows  # type: ignore[attr-defined]
        return float(np.einsum("nk,kl,nl->", off, covariance, off))

    assert loss(fed) < 0.7 * loss(plain)


def test_targets_say_whether_pairs_are_narrow() -> None:
    names = {name: narrow_register(name) is not None for name in ("avx2", "avx512bw", "vnni", "avxvnni", "neon", "all")}
    assert names == {"avx2": True, "avx512bw": True, "vnni": False, "avxvnni": False, "neon": False, "all": True}
    with pytest.raises(NoKernel, match="no quantization target 'sse'"):
        narrow_register("sse")


def test_what_has_no_integers_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 to 8 bits, not 1"):
        choose_weights(np.ones((1, 1)), None, 1)
    with pytest.raises(CalibrationError, match="proj: its weights hold NaN or infinity"):
        choose_weights(np.array([[np.nan]]), None, where="proj")
