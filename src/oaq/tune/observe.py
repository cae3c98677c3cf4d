"""What a program's tensors hold on samples: integers of every tensor that a layer reads, from one native session.

A session returns outputs only, so the program is run with those tensors as outputs. No integer changes by that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.kernels.plan import plan
from oaq.operators.products import multipliers_of
from oaq.program.int_program import IntProgram, Node
from oaq.runtime.session import Session
from oaq.tune.rebuild import real_multipliers

Reals = NDArray[np.float64]
Integers = NDArray[np.uint8]
POSITIONS: Final = 256
"""Output positions looked at per sample, evenly spaced: neighbours tell little new."""
DAMPING: Final = 0.01
"""Part of the mean variance that is added to every operand's, so that unobserved directions still cost something."""


@dataclass(frozen=True, eq=False)
class Observed:
    """Integers of tensors on all samples.

    Attributes:
        tensors: (samples, *shape) uint8 by name.
    """

    tensors: Mapping[str, Integers]

    def counts(self, name: str) -> NDArray[np.int64]:
        """(256,) how often each integer occurs in a tensor."""
        return np.bincount(self.tensors[name].reshape(-1), minlength=256)


def observe(program: IntProgram, x: Sequence[Integers], names: Sequence[str], threads: int) -> Observed:
    """Run ``program`` natively and keep the tensors ``names``.

    Args:
        program: to be run.
        x: one array of integers per input.
        names: tensors to keep.
        threads: of the session.
    """
    inputs = dict(zip(program.inputs, x, strict=True))
    computed = tuple(name for name in dict.fromkeys(names) if name not in inputs)
    if not computed:
        return Observed({name: inputs[name] for name in names})
    session = Session(plan(replace(program, outputs=computed)), threads)
    values = dict(zip(computed, session.run_integers(list(x)), strict=True))
    return Observed({name: inputs[name] if name in inputs else values[name] for name in names})


@dataclass(frozen=True, eq=False)
class Moments:
    """What the operands of a layer do, in packed K order, less the zero point.

    Attributes:
        mean: (G, K), G groups.
        covariance: (G, K, K), damped: the identity for a group whose operands never change.
    """

    mean: Reals
    covariance: Reals


def operand_moments(program: IntProgram, node: Node, x: Integers) -> Moments:
    """Mean and damped covariance of a layer's operands.

    Args:
        program: whose layer it is.
        node: a Conv2d or Linear.
        x: (samples, ...) integers of the tensor it reads.
    """
    first: Reals | None = None
    second: Reals | None = None
    count = 0
    for part in operand_rows(program, node, x):
        total, product = part.sum(axis=1), part.transpose(0, 2, 1) @ part
        first = total if first is None else first + total
        second = product if second is None else second + product
        count += part.shape[1]
    assert first is not None and second is not None  # there is at least one sample
    mean = first / count
    covariance = second / count - mean[:, :, None] * mean[:, None, :]
    variance = np.maximum(np.einsum("gkk->gk", covariance), 0.0).mean(axis=1)
    eye = np.eye(covariance.shape[1])
    damped = covariance + (DAMPING * variance)[:, None, None] * eye
    return Moments(mean, np.where((variance > 0)[:, None, None], damped, eye))


def operand_rows(program: IntProgram, node: Node, x: Integers) -> Iterator[Reals]:
    """(G, P, K) operands less the zero point at some P output positions, sample by sample."""
    op, spec = node.op, program.tensors[node.inputs[0]]
    zero = spec.affine.zero_point
    for sample in x:
        if not isinstance(op, ops.Conv2d):
            yield (sample.astype(np.float64) - zero).reshape(1, -1, sample.shape[-1])
            continue
        axes = tuple(range(sample.ndim - 1))
        padding = [tuple(op.padding[2 * axis : 2 * axis + 2]) for axis in axes]
        image = np.pad(sample, [*padding, (0, 0)], constant_values=zero)
        reach = tuple((size - 1) * step + 1 for size, step in zip(op.kernel, op.dilation, strict=True))
        windows = np.lib.stride_tricks.sliding_window_view(image, reach, axis=axes)
        strides = (*(slice(None, None, step) for step in op.stride), slice(None))
        windows = windows[(*strides, *(slice(None, None, step) for step in op.dilation))]
        positions = windows.shape[: len(axes)]
        count = int(np.prod(positions))
        at = np.unravel_index(np.arange(0, count, max(1, count // POSITIONS)), positions)
        sampled = windows[at].astype(np.float64) - zero  # (P, C, *kernel)
        split = sampled.reshape(len(sampled), op.groups, -1, int(np.prod(op.kernel)))
        yield split.transpose(1, 0, 3, 2).reshape(op.groups, len(sampled), -1)


def noise(
    reference: Sequence[Integers], changed_outputs: Sequence[Integers], programs: tuple[IntProgram, IntProgram]
) -> float:
    """Squared difference of the real outputs of two programs, in parts of the power of the first one's."""
    difference = power = 0.0
    for index, (values_before, changed) in enumerate(zip(reference, changed_outputs, strict=True)):
        a, b = (
            program.tensors[program.outputs[index]].affine.dequantize(values).astype(np.float64)
            for program, values in zip(programs, (values_before, changed), strict=True)
        )
        difference += float(((a - b) ** 2).sum())
        power += float((a**2).sum())
    return difference / power if power else 0.0


def output_weight(op: ops.Products) -> Reals:
    """(N,) what one step of each sum is in steps of the output, squared."""
    return real_multipliers(multipliers_of(op, "a layer")) ** 2
