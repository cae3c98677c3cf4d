"""Linear maps of operators, in both directions: sums of weights times centred integers, and their transpose.

Everything is float64. Weights and operands are integers, so a product is exact as long as the sum of its terms'
magnitudes stays below 2**53; callers that need exactness check that (``dual.exact``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oaq.operators.windows import Window
from oaq.robust.windows import Index

Reals = NDArray[np.floating[Any]]
DENSE_ENTRIES = 1 << 21
"""A map of at most this many entries is a matrix: 16 MiB."""


class LinearMap(Protocol):
    """``inputs`` integers to ``outputs`` sums; batches are rows."""

    @property
    def inputs(self) -> int:
        """Number of input elements."""
        ...

    @property
    def outputs(self) -> int:
        """Number of sums."""
        ...

    def forward(self, x: Reals) -> Reals:
        """(B, inputs) to (B, outputs): W x."""
        ...

    def absolute(self, x: Reals) -> Reals:
        """(B, inputs) to (B, outputs): abs(W) x."""
        ...

    def transposed(self, v: Reals) -> Reals:
        """(B, outputs) to (B, inputs): W^T v."""
        ...

    def spread(self, v: Reals) -> Reals:
        """(B, outputs) to (B, inputs): abs(W)^T v."""
        ...


@dataclass(frozen=True, eq=False)
class Dense:
    """A matrix (outputs, inputs)."""

    matrix: Reals

    @property
    def inputs(self) -> int:
        """Number of input elements."""
        return self.matrix.shape[1]

    @property
    def outputs(self) -> int:
        """Number of sums."""
        return self.matrix.shape[0]

    @cached_property
    def _magnitudes(self) -> Reals:
        return np.abs(self.matrix)

    def forward(self, x: Reals) -> Reals:
        """W x."""
        return x @ self.matrix.T

    def absolute(self, x: Reals) -> Reals:
        """abs(W) x."""
        return x @ self._magnitudes.T

    def transposed(self, v: Reals) -> Reals:
        """W^T v."""
        return v @ self.matrix

    def spread(self, v: Reals) -> Reals:
        """abs(W)^T v."""
        return v @ self._magnitudes


@dataclass(frozen=True, eq=False)
class Gathered:
    """Few terms per sum: output k is sum_t weight[k, t] * x[index[k, t]].

    Attributes:
        index: (outputs, terms); ``OUTSIDE`` goes with weight 0.
        weight: of that shape.
        inputs: number of input elements.
    """

    index: Index
    weight: Reals
    inputs: int

    @property
    def outputs(self) -> int:
        """Number of sums."""
        return self.index.shape[0]

    @cached_property
    def _by_input(self) -> tuple[Index, Index, Index, Reals]:
        """Terms sorted by input element: first term of each element, the elements, output and weight of each term."""
        flat = self.index.ravel()
        order = np.argsort(flat, kind="stable")
        order = order[flat[order] >= 0]
        elements, first = np.unique(flat[order], return_index=True)
        return first, elements, order // self.index.shape[1], self.weight.ravel()[order]

    def forward(self, x: Reals) -> Reals:
        """W x."""
        return self._sums(x, self.weight)

    def absolute(self, x: Reals) -> Reals:
        """abs(W) x."""
        return self._sums(x, np.abs(self.weight))

    def transposed(self, v: Reals) -> Reals:
        """W^T v."""
        return self._back(v, self._by_input[3])

    def spread(self, v: Reals) -> Reals:
        """abs(W)^T v."""
        return self._back(v, np.abs(self._by_input[3]))

    def matrix(self) -> Dense:
        """The map as a matrix."""
        dense = np.zeros((self.outputs, self.inputs))
        inside = self.index >= 0
        rows = np.broadcast_to(np.arange(self.outputs)[:, None], self.index.shape)
        np.add.at(dense, (rows[inside], self.index[inside]), self.weight[inside])
        return Dense(dense)

    def _sums(self, x: Reals, weight: Reals) -> Reals:
        total = np.zeros((x.shape[0], self.outputs))
        for term in range(self.index.shape[1]):
            total += x[:, self.index[:, term]] * weight[:, term]
        return total

    def _back(self, v: Reals, weight: Reals) -> Reals:
        first, elements, outputs, _ = self._by_input
        result = np.zeros((v.shape[0], self.inputs))
        if len(elements):
            result[:, elements] = np.add.reduceat(v[:, outputs] * weight, first, axis=1)
        return result


@dataclass(frozen=True, eq=False)
class Convolved:
    """An ungrouped convolution, one tap of the window at a time.

    Attributes:
        weight: (N, KH, KW, C).
        size: rows, columns of the input.
        window: that slides over them.
    """

    weight: Reals
    size: tuple[int, int]
    window: Window

    @property
    def inputs(self) -> int:
        """Number of input elements."""
        return self.size[0] * self.size[1] * self.weight.shape[3]

    @property
    def outputs(self) -> int:
        """Number of sums."""
        rows, columns = self._counts
        return rows * columns * self.weight.shape[0]

    @cached_property
    def _counts(self) -> tuple[int, int]:
        counts = self.window.counts(self.size)
        return counts[0], counts[1]

    @cached_property
    def _magnitudes(self) -> Reals:
        return np.abs(self.weight)

    def forward(self, x: Reals) -> Reals:
        """W x."""
        return self._sums(x, self.weight)

    def absolute(self, x: Reals) -> Reals:
        """abs(W) x."""
        return self._sums(x, self._magnitudes)

    def transposed(self, v: Reals) -> Reals:
        """W^T v."""
        return self._back(v, self.weight)

    def spread(self, v: Reals) -> Reals:
        """abs(W)^T v."""
        return self._back(v, self._magnitudes)

    def _taps(self) -> list[tuple[int, int, slice, slice]]:
        rows, columns = self._counts
        (down, across), (apart_rows, apart_columns) = self.window.stride, self.window.dilation
        return [
            (
                row,
                column,
                slice(row * apart_rows, row * apart_rows + (rows - 1) * down + 1, down),
                slice(column * apart_columns, column * apart_columns + (columns - 1) * across + 1, across),
            )
            for row in range(self.window.kernel[0])
            for column in range(self.window.kernel[1])
        ]

    def _sums(self, x: Reals, weight: Reals) -> Reals:
        top, bottom, left, right = self.window.padding
        image = x.reshape(-1, *self.size, self.weight.shape[3])
        image = np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)))
        total = np.zeros((x.shape[0], *self._counts, self.weight.shape[0]))
        for row, column, rows, columns in self._taps():
            total += image[:, rows, columns] @ weight[:, row, column].T
        return total.reshape(x.shape[0], -1)

    def _back(self, v: Reals, weight: Reals) -> Reals:
        top, bottom, left, right = self.window.padding
        sums = v.reshape(-1, *self._counts, self.weight.shape[0])
        height, width = self.size
        image = np.zeros((v.shape[0], height + top + bottom, width + left + right, self.weight.shape[3]))
        for row, column, rows, columns in self._taps():
            image[:, rows, columns] += sums @ weight[:, row, column]
        return image[:, top : top + height, left : left + width].reshape(v.shape[0], -1)


def compact(gathered: Gathered) -> LinearMap:
    """Choose a matrix where it is small and not as sparse as a selection."""
    small = gathered.inputs * gathered.outputs <= DENSE_ENTRIES
    return gathered.matrix() if small and gathered.index.shape[1] > 4 else gathered
