"""Layers that wrap by design have no register of another runtime to be kept: nothing is said of them but that."""

from __future__ import annotations

import pytest

import oaq
from oaq.doctor.diagnose import diagnose
from oaq.doctor.registers import registers_named
from oaq.doctor.trigger import find_trigger
from oaq.errors import UnsupportedOp
from tests.modular import ternary_program


def test_a_layer_that_wraps_is_left_out_and_named() -> None:
    diagnosis = diagnose(ternary_program(), ("avx2-acc16",))
    assert diagnosis.layers == ()
    assert diagnosis.notes == ("wrap by design, which kernels of other runtimes know nothing of: layer",)


def test_no_input_is_sought_that_breaks_it() -> None:
    (register,) = registers_named(("avx2-acc16",))
    with pytest.raises(UnsupportedOp, match="layer: its sums count modulo"):
        find_trigger(ternary_program(), ("layer", 0), register)


def test_it_is_not_tuned() -> None:
    with pytest.raises(UnsupportedOp, match="layer: its sums count modulo"):
        oaq.tune(ternary_program(), isa="scalar")
