"""A native session is not built of a plan without schedules, or of tensors that memory does not allow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oaq import operators as ops
from oaq.errors import MemoryLimit, NoKernel
from oaq.kernels.plan import NodePlan, Plan, plan
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.runtime.build import build
from oaq.runtime.memory import plan_memory
from oaq.runtime.step_fields import _front, _sums, _window
from tests.strategies import Builder, conv2d, linear


def planned() -> Plan:
    builder = Builder("small")
    x = builder.input((4, 4, 8))
    y = builder.add(conv2d(np.random.default_rng(0), (8, 1, 1, 8)), [x], Affine(0.05, 9), name="conv")
    builder.add(ops.Add(Requantize(np.array([0.5, 0.5], np.float32))), [x, y], Affine(0.05, 5), name="add")
    return plan(builder.finish())


def test_tensors_beyond_the_limit_are_refused_before_anything_is_taken() -> None:
    subject = planned()
    arena = plan_memory(subject.program)
    with pytest.raises(MemoryLimit, match="small: one sample's tensors"):
        build(subject, arena, 1, arena.size - 1)
    with pytest.raises(MemoryLimit, match="one sample's tensors"):
        build(subject, replace(arena, size=1 << 50), 1)
    assert build(subject, arena, 1, 1 << 24) is not None


def changed(node: NodePlan, **fields: object) -> NodePlan:
    return replace(node, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["schedule", "folded_bias"])
def test_a_layer_without_its_schedule_or_bias_has_no_step(missing: str) -> None:
    node = planned()["conv"]
    assert len(_sums(node)) > 8
    with pytest.raises(NoKernel, match="conv: the plan has no schedule for it"):
        _sums(changed(node, **{missing: None}))
    with pytest.raises(NoKernel, match="the plan has no schedule"):
        _sums(planned()["add"])


def test_windows_and_places_are_those_of_three_axes() -> None:
    line = ops.Window((3,), (2,), (1, 0), (4,))
    assert _window(line) == ((1, 3), (1, 2), (0, 0, 1, 0), (1, 4))
    assert _front(7, (1,), 3) == (7, 7, 1)
    assert _front(7, (1, 2, 3), 3) == (1, 2, 3)
    weights = np.ones((2, 3), np.int8)
    builder = Builder("fc")
    builder.add(ops.Linear(weights, np.zeros(2, np.int32), linear(np.random.default_rng(0), (2, 3)).requantize),
                [builder.input((3,))], name="fc")  # fmt: skip
    assert _sums(plan(builder.finish())["fc"])[:4] == ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
