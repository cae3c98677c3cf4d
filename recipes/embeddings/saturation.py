"""What AVX2 computes of a dynamic file: sums of pairs in 16 bits that saturate, as ONNX Runtime's kernels have them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oaq.dynamic import DynamicLayer, DynamicSession, plan_layer, quantize_rows
from oaq.dynamic.law import QuantizedRows
from oaq.dynamic.reference import exact_sums
from oaq.mixed.execute import MixedSession, Options, State
from oaq.mixed.load import mixed_program, read_onnx
from oaq.mixed.program import DynamicBody, Region
from oaq.numerics.formats import S16

AT_ONCE = 2048
"""Pairs looked at together: bounds memory."""


class Pairs:
    """A layer on vpmaddubsw, vpmaddwd, vpaddd: each pair of products saturates at 16 bits, all else is exact.

    Only pairs whose weights exceed the budget can saturate, so the exact sums are corrected for those.
    """

    def __init__(self, layer: DynamicLayer) -> None:
        self.layer = layer
        self._session = DynamicSession(plan_layer(layer))
        weight = layer.multiplied.astype(np.int64)
        padded = np.pad(weight, ((0, 0), (0, weight.shape[1] % 2)))
        pairs = padded.reshape(len(weight), -1, 2)
        high, low = (255 * np.maximum(sign * pairs, 0).sum(axis=2) for sign in (1, -1))
        widened = layer.weight.dtype == np.uint8  # before it is multiplied, so nothing of it saturates
        self.output, self.pair = np.nonzero(((high > S16.hi) | (low > -S16.lo)) & (not widened))
        self.weight = pairs[self.output, self.pair].astype(np.int32)

    def lost(self, rows: QuantizedRows) -> tuple[NDArray[np.int64], int]:
        """(M, N) what saturation adds to the sums, and how many pairs saturated."""
        lost = np.zeros((len(rows.q), self.layer.outputs), np.int64)
        q = np.pad(rows.q.astype(np.int32), ((0, 0), (0, rows.q.shape[1] % 2))).reshape(len(rows.q), -1, 2)
        count = 0
        for first in range(0, len(self.output), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            exact = (q[:, self.pair[part]] * self.weight[part]).sum(axis=2, dtype=np.int32)
            excess = np.clip(exact, S16.lo, S16.hi) - exact
            at = np.nonzero(excess)
            np.add.at(lost, (at[0], self.output[part][at[1]]), excess[at])
            count += len(at[0])
        return lost, count

    def sums(self, rows: QuantizedRows) -> tuple[NDArray[np.int64], int]:
        """(M, N) sums as AVX2 has them, and how many pairs saturated."""
        lost, count = self.lost(rows)
        return exact_sums(self.layer, rows) + lost, count

    def run(self, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
        """(..., K) to (..., N), and how many pairs saturated.

        Results whose sums lost nothing are those of the native session; the others are computed again.
        """
        rows = quantize_rows(x.reshape(-1, self.layer.terms), "tensor")
        (y,) = self._session.run_quantized(rows)
        lost, count = self.lost(rows)
        row, output = np.nonzero(lost)
        if count:
            centred = rows.q[row].astype(np.int64) - rows.zero_point[row, None]
            sums = np.einsum("ik,ik->i", centred, self.layer.exact_weight[output].astype(np.int64)) + lost[row, output]
            changed = sums.astype(np.float32) * (rows.scale[row] * self.layer.scale[output])
            y[row, output] = changed if self.layer.bias is None else changed + self.layer.bias[output]
        return y.reshape(*x.shape[:-1], -1), count


class SaturatingRegion:
    """A region of dynamic layers, computed as AVX2 does.

    Attributes:
        saturated: pairs of all runs that left 16 bits.
    """

    label = "AVX2, simulated"

    def __init__(self, region: Region) -> None:
        assert isinstance(region.body, DynamicBody)
        self._parts = [(part, [Pairs(layer) for layer in part.layers]) for part in region.body.parts]
        self.saturated = 0

    def run(self, state: State) -> None:
        """Compute what the region writes."""
        for part, layers in self._parts:
            for name, layer in zip(part.names, layers, strict=True):
                state.tensors[name], count = layer.run(state.tensors[part.x])
                self.saturated += count


def simulated(path: str) -> tuple[MixedSession, list[SaturatingRegion]]:
    """A dynamic file whose layers are computed as AVX2 does, all else by ONNX Runtime."""
    session = MixedSession(mixed_program(read_onnx(path)), Options())
    regions = []
    executors = list(session.executors)
    for index, region in enumerate(session.program.regions):
        if region.kind == "dynamic":
            regions.append(SaturatingRegion(region))
            executors[index] = regions[-1]
    session.executors = tuple(executors)
    return session, regions
