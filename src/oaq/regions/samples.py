"""Calibration samples of any network: what a caller gives, as what one run of the file takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from oaq.errors import CalibrationError
from oaq.mixed.program import Port, Values

Feed = dict[str, Values]
"""Arrays by the names of a file's inputs."""


def feeds(inputs: Sequence[Port], samples: Iterable[Any]) -> Iterator[Feed]:
    """Samples as single runs: one sample each where every input leaves axis 0 open, otherwise as many as it fixes.

    Args:
        inputs: of the file.
        samples: each an array or tensor, if the file has one input; a mapping by name; or a sequence in the file's
            order. The first axis is the batch.

    Raises:
        CalibrationError: there is none, or one does not fit the file; the message says which.
    """
    if isinstance(samples, np.ndarray) or hasattr(samples, "detach"):
        raise CalibrationError(
            "calibration batches are a sequence of arrays (n, ...), not one array: give [x] instead of x"
        )
    count = 0
    for index, sample in enumerate(samples):
        feed = _feed(inputs, sample, f"calibration batch {index}")
        for part in _parts(inputs, feed, f"calibration batch {index}"):
            count += 1
            yield part
    if not count:
        raise CalibrationError("there are no calibration batches: give at least one batch of typical inputs")


def _feed(inputs: Sequence[Port], sample: Any, where: str) -> Feed:  # noqa: ANN401
    names = [port.name for port in inputs]
    if isinstance(sample, Mapping):
        arrays = dict(sample)
    elif isinstance(sample, list | tuple):
        if len(sample) != len(names):
            raise CalibrationError(f"{where} holds {len(sample)} arrays for {len(names)} inputs: {', '.join(names)}")
        arrays = dict(zip(names, sample, strict=True))
    elif len(names) == 1:
        arrays = {names[0]: sample}
    else:
        raise CalibrationError(f"{where} is one array; the network takes {len(names)}: {', '.join(names)}")
    if set(arrays) != set(names):
        raise CalibrationError(f"{where} gives {', '.join(map(str, arrays))}; inputs are {', '.join(names)}")
    return {port.name: _array(port, arrays[port.name], f"{where}, {port.name}") for port in inputs}


def _array(port: Port, value: Any, where: str) -> Values:  # noqa: ANN401
    array = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    if array.dtype.kind not in "fiub":
        raise CalibrationError(f"{where}: numbers are expected, not {array.dtype}")
    try:
        dtype = np.dtype(port.dtype or array.dtype)
    except TypeError as error:
        raise CalibrationError(f"{where}: the network takes {port.dtype}, which are not numbers of NumPy") from error
    if dtype.kind in "iub" and array.dtype.kind == "f" and not np.array_equal(array, np.round(array)):
        raise CalibrationError(f"{where}: the network takes {dtype}, and these are not whole numbers")
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise CalibrationError(f"{where}: values are NaN or infinite; leave the sample out or mend it")
    sizes = port.shape
    if sizes is not None and len(sizes) == array.ndim + 1:
        array = array[None]
    fits = sizes is None or (
        len(sizes) == array.ndim
        and all(not isinstance(size, int) or size == n for size, n in zip(sizes[1:], array.shape[1:], strict=True))
    )
    if not fits:
        raise CalibrationError(f"{where}: the shape is {shape_text(sizes or ())}, not {tuple(array.shape)}")
    if array.ndim and not array.shape[0]:
        raise CalibrationError(f"{where} holds no sample")
    return array.astype(dtype, copy=False)


def shape_text(sizes: Sequence[int | str | None]) -> str:
    """Sizes for a message.

    >>> shape_text(("batch", 3, None))
    '(batch, 3, ?)'
    """
    return f"({', '.join('?' if size is None else str(size) for size in sizes)})"


def _parts(inputs: Sequence[Port], feed: Feed, where: str) -> Iterator[Feed]:
    batches = {port.shape[0] if port.shape else 0 for port in inputs}
    counts = {len(array) if array.ndim else 0 for array in feed.values()}
    if any(isinstance(size, int) for size in batches):
        size = next(iter(batches)) if len(batches) == 1 else None
        count = counts.pop() if len(counts) == 1 else None
        if not isinstance(size, int) or size == 0 or count is None:
            yield feed  # first axes are no batch, or differ: one run is what was given
            return
        if count % size:
            raise CalibrationError(f"{where}: the network takes {size} samples at a time, got {count}")
    else:
        if len(counts) != 1:
            raise CalibrationError(f"{where}: its inputs are of different numbers of samples")
        size, count = 1, counts.pop()
    for start in range(0, count, size):
        yield {name: array[start : start + size] for name, array in feed.items()}
