"""Integers that operators take as constant inputs: axes, sizes, ends."""

from __future__ import annotations

from oaq.capture.from_tflite.builder import Stays, TfliteBuilder
from oaq.capture.from_tflite.graph import TfliteOperator
from oaq.errors import FormatError

LONGEST_LIST = 64


def integers_of(build: TfliteBuilder, operator: TfliteOperator, index: int) -> tuple[int, ...]:
    """Input ``index`` as a flat list.

    Raises:
        Stays: it is computed.
        FormatError: it is missing, or not a short list of integers.
    """
    tensor = build.tensor(operator, index)
    if not tensor.constant:
        raise Stays(f"{tensor.name!r} is computed")
    if tensor.data is None or tensor.kind not in ("INT32", "INT64") or tensor.data.size > LONGEST_LIST:
        raise FormatError(f"{operator}: {tensor.name!r} is {tensor.kind} {tensor.shape}, not a short list of integers")
    return tuple(int(value) for value in tensor.data.reshape(-1))


def axes_of(build: TfliteBuilder, operator: TfliteOperator, index: int, rank: int) -> set[int]:
    """Input ``index`` as axes of a tensor of ``rank`` axes, counted from the front.

    Raises:
        Stays: it is computed.
        FormatError: there is no such axis.
    """
    return {axis_of(operator, axis, rank) for axis in integers_of(build, operator, index)}


def axis_of(operator: TfliteOperator, axis: int, rank: int) -> int:
    """The axis counted from the front.

    Raises:
        FormatError: there is none.
    """
    if not -rank <= axis < rank:
        raise FormatError(f"{operator}: axis {axis} of a tensor of {rank} axes; the file is damaged")
    return axis % rank
