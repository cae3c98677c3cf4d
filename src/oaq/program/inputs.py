"""The raw integers a program is given: which array is which input, and whether each is what every bound assumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.program.int_program import IntProgram

ProgramInputs = NDArray[Any] | Sequence[NDArray[Any]] | Mapping[str, NDArray[Any]]
"""One array, or one per program input: in order, or by name."""


def in_order(program: IntProgram, x: ProgramInputs, names: Sequence[str] | None = None) -> tuple[NDArray[Any], ...]:
    """One array per input, in the program's order.

    Args:
        program: whose inputs they are.
        x: the arrays.
        names: of the inputs, where callers know them by others than the program's.

    Raises:
        ProgramError: too many, too few, or other names.
    """
    names = program.inputs if names is None else names
    if isinstance(x, Mapping):
        if set(x) != set(names):
            raise ProgramError(f"{program.name}: takes the inputs {list(names)}, got {list(x)}")
        return tuple(x[name] for name in names)
    arrays = tuple(x) if isinstance(x, Sequence) else (x,)
    if len(arrays) != len(names):
        raise ProgramError(f"{program.name}: takes {len(names)} inputs, got {len(arrays)}")
    return arrays


def checked(program: IntProgram, arrays: Sequence[NDArray[Any]]) -> tuple[NDArray[np.uint8], ...]:
    """Raw integers, contiguous, once it is certain that they are what every bound assumes.

    Raises:
        ProgramError: a type, shape, batch or integer is not what the program declares.
    """
    for name, array in zip(program.inputs, arrays, strict=True):
        spec = program.tensors[name]
        refuse_mask(name, array)
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.shape[1:] != spec.shape:
            raise ProgramError(f"input {name!r}: takes uint8 (batch, {show(spec.shape)}), got {describe(array)}")
        is_full = spec.range.lo <= 0 and spec.range.hi >= 255  # no u8 lies outside, so none is looked at
        if array.size and not is_full and (int(array.min()) < spec.range.lo or int(array.max()) > spec.range.hi):
            raise ProgramError(
                f"input {name!r}: holds integers {array.min()}..{array.max()}, outside the effective range "
                f"[{spec.range.lo}, {spec.range.hi}] that every bound assumes; clamp them"
            )
    batches = {array.shape[0] for array in arrays}
    if len(batches) > 1:
        raise ProgramError(f"{program.name}: the inputs have different batch sizes {sorted(batches)}")
    return tuple(np.ascontiguousarray(array) for array in arrays)


def refuse_mask(name: str, array: object) -> None:
    """Refuse a masked array: the values under its mask would be computed with as if they were not masked.

    Raises:
        ProgramError: ``array``, of the input ``name``, has a mask.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise ProgramError(
            f"input {name!r}: is a masked array, and a mask has no meaning here; fill it (array.filled(value)) first"
        )


def describe(array: object) -> str:
    """Type and shape of an array, type of anything else."""
    return f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__


def show(shape: tuple[int, ...]) -> str:
    """``2, 3, 4``."""
    return ", ".join(map(str, shape))
