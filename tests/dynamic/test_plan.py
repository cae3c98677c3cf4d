"""What is proved of a dynamic layer, from both sides."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.dynamic import DynamicLayer, plan_layer
from oaq.dynamic.certify import findings_of
from oaq.dynamic.law import QuantizedRows
from oaq.dynamic.reference import exact_sums
from oaq.errors import AccumulatorOverflow, ProgramError
from tests.dynamic.layers import layer, weights


@pytest.mark.parametrize("law", ["tensor", "row", "row_s8"])
def test_totals_hold_for_every_operand_and_zero_point_and_their_ends_are_reached(law: str) -> None:
    for _, weight, zero in weights((3, 6)):
        dynamic = layer(weight, zero, law)  # type: ignore[arg-type]
        plan = plan_layer(dynamic)
        assert findings_of(plan) == ()
        exact = dynamic.exact_weight.astype(np.int64)
        zeros, least = ([128], 1) if law == "row_s8" else ([0, 255], 0)
        q = np.concatenate([np.where(exact > 0, 255, least), np.where(exact > 0, least, 255)])
        totals = [
            exact_sums(
                dynamic, QuantizedRows(q.astype(np.uint8), np.ones(len(q), np.float32), np.full(len(q), z, np.int32))
            )
            for z in zeros
        ]
        assert (np.min(totals), np.max(totals)) == (plan.total.lo, plan.total.hi)


def test_pairs_of_128_need_no_second_issue_and_pairs_of_129_do() -> None:
    for pair, splits in (((127, 1), 0), ((127, 2), 1)):
        weight = np.array([[*pair, 0, 0]], np.int8)
        plan = plan_layer(layer(weight), rows="gemm_u8s8_avx2_acc32")
        assert plan.node.schedule is not None
        assert plan.node.schedule.splits == splits


def test_a_layer_whose_totals_leave_32_bits_is_refused() -> None:
    dynamic = layer(np.full((1, 70_000), 127, np.int8))
    with pytest.raises(AccumulatorOverflow, match="the 32-bit sum needs 33 bits"):
        plan_layer(dynamic)


def test_the_explanation_names_row_and_reach() -> None:
    text = plan_layer(layer(np.ones((4, 8), np.int8)), rows="gemm_u8s8_scalar").explain()
    assert "gemm_u8s8_scalar" in text
    assert "totals of any scale reach [-2040, 2040], 12 bits" in text


def test_what_is_no_layer_is_refused() -> None:
    good = np.ones((2, 3), np.int8)
    one = np.ones(1, np.float32)
    for arguments, words in (
        ((good.astype(np.int16), one), "int8 or uint8, not int16"),
        ((good[:, :0], one), "not int8 of shape"),
        ((good, np.ones(3, np.float32)), "scales are float32, one or one for each of 2 outputs"),
        ((good, -one), "positive and finite"),
        ((good, one, np.zeros(1, np.uint8)), "zero points are int8"),
        ((good, one, None, np.ones(2)), "biases are float32"),
    ):
        with pytest.raises(ProgramError, match=words):
            DynamicLayer("l", *arguments)  # type: ignore[arg-type]
