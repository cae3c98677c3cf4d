"""What several operators require of the arrays they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.requantize import Requantize
from oaq.operators.tensor import Shape


def frozen(
    name: str, array: NDArray[Any], dtype: type[np.generic], ndim: int, wide: type[np.generic] | None = None
) -> NDArray[Any]:
    """A read-only copy in C order.

    Raises:
        ProgramError: ``array`` is empty, or of another type (``wide`` is taken too) or rank.
    """
    source = np.asarray(array)
    if source.dtype not in (dtype, wide or dtype) or source.ndim != ndim or source.size == 0:
        raise ProgramError(
            f"{name}: {ndim}-d {np.dtype(dtype).name} expected, not {source.dtype} of shape {source.shape}"
        )
    copy = np.array(source, order="C")
    copy.flags.writeable = False
    return copy


def check_count(name: str, requantize: Requantize, count: int) -> None:
    """Require ``count`` multipliers.

    Raises:
        ProgramError: there are more or fewer.
    """
    if len(requantize) != count:
        raise ProgramError(f"{name}: needs {count} requantize multipliers, has {len(requantize)}")


def check_same_shapes(name: str, shapes: tuple[Shape, ...]) -> None:
    """Require one shape.

    Raises:
        ProgramError: there are two.
    """
    if len(set(shapes)) != 1:
        raise ProgramError(f"{name}: the inputs have one shape, not {' and '.join(map(str, shapes))}")
