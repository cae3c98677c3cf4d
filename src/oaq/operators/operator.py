"""What an operator is: a frozen value (``Op``) and the functions everything else asks about it (``Rules``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Requantize, Semantics
from oaq.operators.tensor import Shape, TensorSpec

Arrays = Sequence[NDArray[np.uint8]]
"""(batch, ...) integers of each input."""
Specs = Sequence[TensorSpec]
Ranges = Sequence[ChannelRanges]
Work = Mapping[str, float]
Scales = NDArray[np.floating[Any]]
Ratios = Callable[[Any, Scales, np.floating[Any], Sequence[Shape]], Scales]
"""(value, scales of the inputs, of the output, shapes of the inputs) to the real numbers that multipliers stand for."""


class Op:
    """A value of an operator: frozen, holding exact integers and geometry, checked where it is constructed."""


@dataclass(frozen=True, eq=False)
class Case:
    """A value of an operator with input shapes it takes: what tests, benchmarks and calibration start from.

    Attributes:
        op: the value. Its multipliers suit inputs and output of equal scale.
        shapes: of each input, one sample.
    """

    op: Op
    shapes: tuple[Shape, ...]


T = TypeVar("T", bound=Op)


@dataclass(frozen=True, eq=False)
class Rules(Generic[T]):
    """All that the layers above know about one operator.

    Attributes:
        value: its class; the class's name is the operator's name in files, checkers and tables.
        arity: number of inputs, or a function of the value.
        shape: output shape from input shapes; raises ProgramError naming both.
        law: (value, inputs, specs of the inputs, spec of the output) to int64 inside the output's effective range: the
            reference. Slow and obvious, never optimised. The law of an operator that sums products
            (``products.Products``) returns the exact sums, bias included, which the caller checks against 32 bits and
            requantizes.
        image: exact image of input ranges under ``law``, per channel; its last argument names the place in errors.
            None for operators that sum products: ``overflow`` bounds their sums.
        family: kernel family of native rows, or a function of the value.
        work: counts of the cost model (``kernels.work``: reads, values, blends, places) from input and output shapes.
            None for operators that sum products, whose counts depend on the kernel row.
        cases: sample values for a requantize semantics; the smallest first.
        same_affine: True iff it moves or selects integers, so that input and output share one affine map.
        float_defined: whether runtimes that compute on floats may round its results to a neighbouring integer.
        no_native: why no native row computes the value on inputs of these shapes, or "" where rows exist.
        check: what a program must satisfy beyond shapes (value, specs of the inputs, spec of the output); raises
            ProgramError.
        ratios: the real numbers its multipliers stand for, in the type of the scales and in the order of operations of
            ONNX Runtime, so that float32 scales give its float32 multipliers. None: it has no ``requantize`` or sums
            products, whose weights have scales too.
        fit: multipliers as its value takes them.
    """

    value: type[T]
    arity: int | Callable[[T], int]
    shape: Callable[[T, Sequence[Shape]], Shape]
    law: Callable[[T, Arrays, Specs, TensorSpec], NDArray[np.int64]]
    image: Callable[[T, Ranges, Specs, TensorSpec, str], ChannelRanges] | None
    family: str | Callable[[T], str]
    work: Callable[[T, Sequence[Shape], Shape], Work] | None
    cases: Callable[[Semantics], tuple[Case, ...]]
    same_affine: bool = False
    float_defined: Callable[[T], bool] = lambda _op: False
    no_native: Callable[[T, Sequence[Shape]], str] = lambda _op, _inputs: ""
    check: Callable[[T, Specs, TensorSpec], None] | None = None
    ratios: Ratios | None = None
    fit: Callable[[Requantize], Requantize] = lambda requantize: requantize

    @property
    def name(self) -> str:
        """The operator's name everywhere."""
        return self.value.__name__

    def arity_of(self, op: T) -> int:
        """Number of inputs this value takes."""
        return self.arity if isinstance(self.arity, int) else self.arity(op)

    def family_of(self, op: T) -> str:
        """Kernel family that computes this value."""
        return self.family if isinstance(self.family, str) else self.family(op)


AnyRules = Rules[Any]


def ratio_per_input(_op: object, scales: Scales, y: np.floating[Any], _shapes: Sequence[Shape]) -> Scales:
    """One multiplier s_x / s_y for each input."""
    return scales / y


ALWAYS: Final[Callable[[Any], bool]] = lambda _op: True  # noqa: E731 (an answer, not a computation)


def pointwise_work(y: Shape) -> dict[str, float]:
    """Counts of an operator that reads one value and writes one value at each place of its output."""
    values = float(np.prod(y, dtype=np.int64))
    return {"reads": values, "values": values, "blends": 0.0, "places": values / y[-1], "call": 1.0}
