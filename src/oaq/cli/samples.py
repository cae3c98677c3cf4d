"""Files of samples as a float network takes them: photos, arrays, or arrays by the names of its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oaq.cli.network import is_channels_last
from oaq.data.arrays import read_named
from oaq.data.batches import ARRAYS, read
from oaq.data.preprocess import Preprocess
from oaq.errors import CalibrationError
from oaq.mixed.program import Port


def read_samples(
    paths: Sequence[Path], ports: Sequence[Port], preprocessing: Preprocess, axes: int | None
) -> Iterator[Any]:
    """Each file as an array, or as arrays by name where the network takes several or the file holds several.

    Args:
        paths: of photos and arrays.
        ports: inputs of the network; empty for a torch module.
        preprocessing: of photos.
        axes: of one sample, where no port says it; None if nothing does.

    Raises:
        CalibrationError: a file lacks an input.
    """
    for path in paths:
        if path.suffix.lower() in ARRAYS:
            arrays = read_named(path)
            if len(arrays) == 1 and len(ports) < 2:
                (array,) = arrays.values()
                yield _batched(array, ports, axes)
            else:
                yield _by_name(arrays, ports, path)
        elif len(ports) > 1:
            names = [port.name for port in ports]
            raise CalibrationError(f"{path}: the network takes {len(names)} inputs: give .npz files that hold {names}")
        else:
            last = bool(ports) and is_channels_last(ports[0])
            yield read(path, preprocessing, channels_last=last)


def _batched(array: np.ndarray, ports: Sequence[Port], axes: int | None) -> np.ndarray:
    """With its batch; a network whose rank is not known gets what the file holds."""
    rank = len(ports[0].shape) if ports and ports[0].shape is not None else None if axes is None else axes + 1
    if not ports and array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    return array[None] if rank is not None and array.ndim == rank - 1 else array


def _by_name(arrays: dict[str, np.ndarray], ports: Sequence[Port], path: Path) -> dict[str, np.ndarray]:
    names = [port.name for port in ports]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise CalibrationError(f"{path}: holds {', '.join(map(repr, arrays))}; the network takes {names}")
    return {name: arrays[name] for name in names} if names else arrays
