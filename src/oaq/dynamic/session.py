"""``DynamicSession``: dynamic layers that share their operands, made ready to run by native code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.dynamic.certify import require_safe
from oaq.dynamic.law import QuantizedRows, refuse_row
from oaq.dynamic.plan import DynamicPlan
from oaq.errors import NoKernel, ProgramError
from oaq.kernels.cpus import thread_count
from oaq.kernels.table import native_module

Floats = NDArray[np.float32]
Allocate = Callable[[tuple[int, ...]], Floats]


class DynamicSession:
    """Quantizes rows once and multiplies them by one or several layers.

    Every plan's proof is derived again by ``oaq.checker`` before anything runs. Sessions may run in several threads at
    once; threads of one run come from the process's pool of that size.

    Attributes:
        plans: what runs; all layers read the same rows.
        threads: that share a run.
    """

    def __init__(self, plans: DynamicPlan | Sequence[DynamicPlan], threads: int | None = None) -> None:
        """Check the proofs, pack the weights; None is as many threads as this process may use CPUs.

        Raises:
            AccumulatorOverflow: a proof does not hold.
            ProgramError: the layers cannot share rows, or ``threads`` is out of range.
            NoKernel: the native module is not built, or this CPU cannot run a row.
        """
        self.plans = (plans,) if isinstance(plans, DynamicPlan) else tuple(plans)
        self._threads = threads
        self.threads = thread_count(threads)
        _check(self.plans)
        for plan in self.plans:
            require_safe(plan)
        self._native = native_module()
        first = self.plans[0].layer
        constant = first.constant
        scale, zero_point = (1.0, 0) if constant is None else (constant.scale, constant.zero_point)
        self._quantization = self._native.Quantization(first.law, scale, zero_point)
        self._groups = [
            (places, [_product(self._native, self.plans[place]) for place in places])
            for places in _by_row(self.plans).values()
        ]
        self._terms, self._outputs = first.terms, tuple(plan.layer.outputs for plan in self.plans)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy as the plans: the new session packs its own weights, and proofs are checked again."""
        return DynamicSession, (self.plans, self._threads)

    @property
    def terms(self) -> int:
        """K."""
        return self._terms

    def run(self, x: Floats, empty: Allocate | None = None) -> tuple[Floats, ...]:
        """(..., K) float32 to (..., N) float32 of each layer.

        Args:
            x: the reals.
            empty: makes the arrays of results, whose elements are undefined; None is NumPy's.

        Raises:
            ProgramError: the shape or the type does not fit, or a row has no scale.
        """
        rows = self._rows(x, np.dtype(np.float32))
        results = self._results(len(rows), empty)
        self.run_into(rows, results)
        if x.ndim == 2:
            return tuple(results)
        leading = x.shape[:-1]
        return tuple([y.reshape(*leading, size) for y, size in zip(results, self._outputs, strict=True)])

    def run_into(self, rows: Floats, results: Sequence[Floats]) -> None:
        """(M, K) float32, contiguous, to one (M, N) float32, contiguous, for each layer.

        Raises:
            ProgramError: a row has no scale.
        """
        for places, products in self._groups:
            y = list(results) if len(self._groups) == 1 else [results[place] for place in places]
            wrong = self._native.run_products(products, rows, y, self._quantization, self.threads)
            if wrong >= 0:
                refuse_row(rows, wrong)

    def run_quantized(self, rows: QuantizedRows) -> tuple[Floats, ...]:
        """Multiply operands that are quantized already, whatever by.

        Args:
            rows: (M, K) uint8 with scales and zero points.
        """
        q = self._rows(rows.q, np.dtype(np.uint8))
        results = self._results(len(q))
        scale, zero = np.ascontiguousarray(rows.scale, np.float32), np.ascontiguousarray(rows.zero_point, np.int32)
        for places, products in self._groups:
            self._native.run_quantized(products, q, scale, zero, [results[place] for place in places], self.threads)
        return tuple(results)

    def quantize(self, x: Floats) -> QuantizedRows:
        """All of ``x``, of any shape, as one row under the law of the layers.

        Raises:
            ProgramError: ``x`` has no scale.
        """
        row = np.ascontiguousarray(x, np.float32).reshape(1, -1)
        rows = QuantizedRows(np.empty(row.shape, np.uint8), np.empty(1, np.float32), np.empty(1, np.int32))
        isa = self.plans[0].row.isa
        if self._native.quantize_rows(row, rows.q, rows.scale, rows.zero_point, self._quantization, isa) >= 0:
            refuse_row(row, 0)
        return rows

    def _rows(self, x: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        if not isinstance(x, np.ndarray) or x.dtype != dtype or x.ndim < 1 or x.shape[-1] != self._terms:
            kind = f"{x.dtype} of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
            raise ProgramError(f"{self.plans[0].layer.name}: takes {dtype} of shape (..., {self.terms}), not {kind}")
        return np.ascontiguousarray(x if x.ndim == 2 else x.reshape(-1, self._terms))

    def _results(self, rows: int, empty: Allocate | None = None) -> list[Floats]:
        if empty is not None:
            return [empty((rows, outputs)) for outputs in self._outputs]
        return [np.empty((rows, outputs), np.float32) for outputs in self._outputs]


def _check(plans: Sequence[DynamicPlan]) -> None:
    if not plans or not all(isinstance(plan, DynamicPlan) for plan in plans):
        raise ProgramError("a dynamic session runs one or several plans; make one by oaq.dynamic.plan_layer(layer)")
    first = plans[0].layer
    for plan in plans[1:]:
        if (plan.layer.terms, plan.layer.law, plan.layer.constant) != (first.terms, first.law, first.constant):
            raise ProgramError(f"{plan.layer.name} and {first.name} cannot share rows: their operands differ")


def _by_row(plans: Sequence[DynamicPlan]) -> dict[str, list[int]]:
    """Places of the plans by the kernel row that sums them: products of one row share one quantization."""
    places: dict[str, list[int]] = {}
    for place, plan in enumerate(plans):
        places.setdefault(plan.row.name, []).append(place)
    return places


def _product(module: Any, plan: DynamicPlan) -> Any:  # noqa: ANN401 (native)
    layer, schedule = plan.layer, plan.node.schedule
    assert schedule is not None
    zero = layer.multiplied_zero
    try:
        return module.Product(
            plan.row.name,
            layer.terms,
            schedule.packed,
            schedule.segments.reshape(-1).tolist(),
            plan.column_sum,
            zero if zero.any() else np.zeros(0, np.int32),
            layer.scale,
            layer.bias if layer.bias is not None else np.zeros(0, np.float32),
        )
    except ValueError as error:
        raise NoKernel(f"{layer.name}: {error}") from error
