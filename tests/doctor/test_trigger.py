"""Inputs that drive registers out: built where they can be, looked for where not, and said honestly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oaq import operators as ops
from oaq import reference
from oaq.doctor import REGISTERS, diagnose, registers_named
from oaq.doctor.diagnosis import sentence
from oaq.doctor.trigger import find_trigger
from oaq.errors import ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node

(ACC32,) = registers_named(("avx2-acc32",))
SIZE = 6


def conv(weight: np.ndarray, multiplier: float) -> ops.Conv2d:
    count = len(weight)
    return ops.Conv2d(
        weight.astype(np.int8), np.zeros(count, np.int32), Requantize(np.full(count, multiplier, np.float32))
    )


def program(*, first: int = 127, deep: bool = False) -> IntProgram:
    """A 1x1 convolution of pairs of ``first``; with ``deep`` another behind it whose input it halves or passes."""
    one = np.full((4, 1, 1, 4), first)
    image, affine = (SIZE, SIZE, 4), Affine(1.0, 0)
    specs = [TensorSpec("x", image, affine), TensorSpec("y", image, affine)]
    nodes = [Node("first", conv(one, 1 / (4 * max(first, 1))), ("x",), "y")]
    if deep:
        specs.append(TensorSpec("z", image, affine))
        nodes.append(Node("second", conv(np.full((4, 1, 1, 4), 127), 1 / 508), ("y",), "z"))
    return IntProgram("net", ("x",), (specs[-1].name,), {spec.name: spec for spec in specs}, tuple(nodes))


def test_the_first_layer_is_driven_out_by_an_input_of_the_network() -> None:
    net = program()
    found = find_trigger(net, ("first", 2), ACC32)
    assert found.how == "built" and found.leaves
    assert found.reached == 2 * 127 * 255
    assert found.lost == 2 * (2 * 127 * 255 - 32767)
    assert found.network is not None
    np.testing.assert_array_equal(found.network, found.tensor)
    seen = diagnose(net, ["avx2-acc32"], [(found.network,)])["first"].verdicts["avx2-acc32"].seen
    assert seen is not None and seen.overflows[2] > 0


def test_a_deeper_layer_is_reached_by_data_or_by_search() -> None:
    net = program(first=1, deep=True)
    bright = np.full((1, SIZE, SIZE, 4), 255, np.uint8)
    by_data = find_trigger(net, ("second", 0), ACC32, [bright])
    assert by_data.how == "data" and by_data.network is not None
    seen = diagnose(net, ["avx2-acc32"], [(by_data.network,)])["second"].verdicts["avx2-acc32"].seen
    assert seen is not None and seen.overflows[0] > 0


def test_what_was_not_given_is_not_called_data() -> None:
    """A bright image does it; nobody gave one, or only a dark one."""
    net = program(first=1, deep=True)
    for data in ([], [np.zeros((2, SIZE, SIZE, 4), np.uint8)]):
        found = find_trigger(net, ("second", 0), ACC32, data)
        assert found.how == "search" and found.network is not None and found.network_reached == 2 * 127 * 255


def test_nothing_found_is_said_to_prove_nothing() -> None:
    dark = program(first=1, deep=True)
    specs = dict(dark.tensors) | {"x": TensorSpec("x", (SIZE, SIZE, 4), Affine(1.0, 0), dark.tensors["x"].range)}
    first = Node("first", conv(np.full((4, 1, 1, 4), 1), 1 / 4000), ("x",), "y")
    net = IntProgram("dim", ("x",), ("z",), specs, (first, dark.nodes[1]))
    found = find_trigger(net, ("second", 0), ACC32, trials=20)
    assert found.network is None and found.how == "not found" and found.trials >= 20
    assert found.network_reached is not None and found.network_reached <= 32767


def test_what_is_proved_cannot_be_driven_out() -> None:
    with pytest.raises(ProgramError, match="proved safe on avx2-acc32"):
        find_trigger(program(first=64), ("first", 0), ACC32)
    with pytest.raises(ProgramError, match="no output 9"):
        find_trigger(program(), ("first", 9), ACC32)


def test_what_saturation_takes_is_what_a_simulated_register_loses() -> None:
    net = program()
    found = find_trigger(net, ("first", 0), ACC32)
    exact = reference.run(net, (found.tensor,), accumulators=True)
    total = 4 * 127 * 255
    saturated = 2 * min(2 * 127 * 255, 32767)
    assert found.lost == total - saturated
    assert exact.outputs[0].max() == 255


@pytest.mark.parametrize("name", [one.name for one in REGISTERS if one.operands.hi == 255] + ["20 bits"])
def test_an_input_that_drives_the_32_bits_behind_narrow_registers_out(name: str) -> None:
    """The bias lies at the end of int32: one more product leaves it, whatever sums the products."""
    op = conv(np.full((2, 1, 1, 4), 20), 0.01)
    op = replace(op, bias=np.array([5, 2**31 - 1], np.int32))
    specs = {spec: TensorSpec(spec, (SIZE, SIZE, channels), Affine(1.0, 0)) for spec, channels in (("x", 4), ("y", 2))}
    net = IntProgram("net", ("x",), ("y",), specs, (Node("first", op, ("x",), "y"),))
    (named,) = registers_named((name,))
    diagnosis = diagnose(net, [named])
    layer = diagnosis["first"].verdicts[named.name]
    assert layer.unsafe.tolist() == [1] and layer.worst == 1 and layer.bits_needed.tolist()[1] == 33
    assert "output 1 needs 33 bits: a register of [-2147483648, 2147483647]" in sentence(diagnosis["first"], named.name)
    found = find_trigger(net, ("first", 1), named)
    assert found.how == "built" and found.leaves and found.limit == (-(2**31), 2**31 - 1)
    seen = diagnose(net, [named], [(found.network,), (0 * found.tensor,)])["first"].verdicts[named.name].seen
    assert seen is not None and seen.overflows[1] > 0 and seen.overflows[0] == 0
    assert int(seen.hi[1]) == found.reached
    with pytest.raises(ProgramError, match="proved safe"):
        find_trigger(net, ("first", 0), named)


def test_layers_behind_one_that_leaves_32_bits_are_still_looked_at() -> None:
    net = program(first=1, deep=True)
    first = replace(net.nodes[0], op=replace(net.nodes[0].products, bias=np.full(4, 2**31 - 1, np.int32)))
    net = replace(net, nodes=(first, net.nodes[1]))
    found = find_trigger(net, ("second", 0), ACC32, trials=3)
    assert found.how in ("search", "not found") and found.leaves
    assert diagnose(net, ["avx2-acc32"], [(np.full((1, SIZE, SIZE, 4), 9, np.uint8),)]).samples == 1
