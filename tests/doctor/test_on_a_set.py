"""Registers asked about for the inputs of a set: every sum of every member stays where the verdict says."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.doctor import diagnose
from oaq.doctor.observed import Observer
from oaq.doctor.registers import registers_named
from oaq.errors import AccumulatorOverflow
from oaq.report.doctor import headlines
from oaq.robust import ball, box
from oaq.robust.prove import members
from tests.report import small
from tests.robust.networks import centre, perceptron


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("register", ["avx2-acc32", "18 bits", "neon-mlal-pair"])
def test_no_member_of_the_set_leaves_a_register_that_is_safe_on_it(seed: int, register: str) -> None:
    program = perceptron(seed, (5, 7, 6, 4))
    x = centre(program, seed)
    region = box(program, x, x - np.uint8(2), x + np.uint8(2))
    everywhere, on_set = diagnose(program, (register,)), diagnose(program, (register,), region=region)
    observer = Observer(program, registers_named((register,)), ())
    observer.run((rows,) for rows in members(region, 1000))
    for wide, narrow in zip(everywhere.layers, on_set.layers, strict=True):
        before, after = (next(iter(layer.verdicts.values())) for layer in (wide, narrow))
        assert (before.lo <= after.lo).all()
        assert (after.hi <= before.hi).all()
        assert (after.safe | ~before.safe).all()
        ran = observer.observations(narrow.node, next(iter(narrow.verdicts)))
        assert not ran.overflows[after.safe].any()
        watched = ran.overflows > 0
        assert (after.lo[watched] <= ran.lo[watched]).all()
        assert (ran.hi[watched] <= after.hi[watched]).all()


def test_a_small_set_is_safe_where_every_input_is_not() -> None:
    program = perceptron(1, (5, 7, 6, 4))
    x = np.full(5, 3, np.uint8)
    bits = max(int(layer.verdicts["32-bit"].bits.max()) for layer in diagnose(program, ("32 bits",)).layers[:1])
    name = f"{bits - 1} bits"
    assert not diagnose(program, (name,))["fc0"].verdicts[f"{bits - 1}-bit"].is_safe
    assert diagnose(program, (name,), region=ball(program, x, 1))["fc0"].verdicts[f"{bits - 1}-bit"].is_safe


def test_a_set_is_named_wherever_a_verdict_is() -> None:
    program = small.program()
    x = np.zeros(program.tensors[program.inputs[0]].shape, np.uint8) + np.uint8(9)
    x = np.clip(x, program.tensors[program.inputs[0]].range.lo, program.tensors[program.inputs[0]].range.hi)
    diagnosis = diagnose(program, ("8 bits", "vnni"), region=ball(program, x, 1))
    assert diagnosis.to_json()["set"] == "ball: norm inf, radius 1"
    lines = "\n".join(headlines(diagnosis, "net.oaq"))
    assert "for every input of the set (ball: norm inf, radius 1)" in lines
    assert "oaq witness" not in lines
    with pytest.raises(AccumulatorOverflow, match="Asked about every input of the set"):
        diagnosis.raise_if_unsafe()
    assert "set" not in diagnose(program, ("vnni",)).to_json()
