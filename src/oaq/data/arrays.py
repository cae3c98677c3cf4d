"""One ``.npy`` or ``.npz`` file to float32 samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError


def read_array(path: Path, axes: int | None = None, *, keep_integers: bool = False) -> NDArray[Any]:
    """The samples of one file as they are: (n, ...) float32.

    Args:
        path: of the file.
        axes: of one sample, the batch not counted; None takes (C,), (n, C), (C, H, W) and (n, C, H, W).
        keep_integers: arrays of integers stay what they are: a network that takes integers takes them, no reals.

    Raises:
        FormatError: the file does not decode, or holds anything but one array of numbers.
    """
    try:
        arrays = _arrays(path)
    except Exception as error:  # numpy lets zipfile's, zlib's and tokenize's errors through
        raise FormatError(f"{path}: is not a readable NumPy file: {error}") from error
    if len(arrays) != 1:
        raise FormatError(f"{path}: holds {len(arrays)} arrays ({', '.join(arrays)}); one is expected")
    (array,) = arrays.values()
    ranks = (1, 2, 3, 4) if axes is None else (axes, axes + 1)
    if array.ndim not in ranks or array.size == 0 or array.dtype.kind not in "fiu":
        shape = (
            "of shape (C, H, W) or (n, C, H, W)" if axes is None else f"along {axes} axes, or {axes + 1} with a batch"
        )
        raise FormatError(f"{path}: a sample is numbers {shape}, not {array.dtype} {array.shape}")
    whole = array.ndim in (2, 4) if axes is None else array.ndim == axes + 1
    dtype = array.dtype if keep_integers and array.dtype.kind in "iu" else np.float32
    return np.ascontiguousarray(array if whole else array[None], dtype)


def read_named(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of a ``.npz`` by its name, as it is; that of a ``.npy`` under the name "".

    Raises:
        FormatError: the file does not decode.
    """
    try:
        return _arrays(path)
    except Exception as error:  # numpy lets zipfile's, zlib's and tokenize's errors through
        raise FormatError(f"{path}: is not a readable NumPy file: {error}") from error


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    with path.open("rb") as file:  # numpy leaves a file it opened itself open when it does not decode
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return {"": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
