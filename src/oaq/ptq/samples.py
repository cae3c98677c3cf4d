"""Calibration inputs: checked, cut into chunks of one size whatever the caller's batches were, and a bounded part kept.

Because chunks never depend on how the caller batched, nothing that is computed from them does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from oaq.capture.graph import FloatGraph
from oaq.errors import CalibrationError

CHUNK = 8
KEPT = 128
"""Samples kept for the passes after the first. Statistics of the first pass are of every sample."""

Chunk = dict[str, torch.Tensor]


def chunks(graph: FloatGraph, batches: Iterable[Any], size: int = CHUNK) -> Iterator[Chunk]:
    """Check batches and cut them anew into ``size`` samples (fewer in the last).

    Args:
        graph: whose inputs the samples are.
        batches: each a float array or tensor (n, ...), images as the graph's callers lay them out; a mapping of them by
            input name; or a sequence of them in the order of the graph's inputs if it has several.
        size: samples per chunk.

    Raises:
        CalibrationError: there is no sample at all, or one is of another shape or type, or is not finite.
    """
    pending: list[Chunk] = []
    count = 0
    for index, batch in enumerate(_iterate(batches)):
        chunk = _checked(graph, batch, index)
        pending.append(chunk)
        count += _samples(chunk)
        while count >= size:
            joined = _joined(pending)
            yield {name: value[:size] for name, value in joined.items()}
            pending = [{name: value[size:] for name, value in joined.items()}]
            count -= size
            del joined
    if count:
        yield _joined(pending)


class Reservoir:
    """Keeps at most ``limit`` samples of a stream, evenly spaced, without knowing how many will come."""

    def __init__(self, limit: int = KEPT) -> None:
        self._limit, self._stride, self._count = limit, 1, 0
        self._retained: list[Chunk] = []

    def add(self, chunk: Chunk) -> None:
        """See one chunk."""
        for index in range(_samples(chunk)):
            if self._count % self._stride == 0:
                self._retained.append({name: value[index : index + 1].clone() for name, value in chunk.items()})
            self._count += 1
            if len(self._retained) > self._limit:
                self._retained, self._stride = self._retained[::2], self._stride * 2

    @property
    def count(self) -> int:
        """Samples of the stream so far."""
        return self._count

    def __len__(self) -> int:
        return len(self._retained)

    def chunks(self, size: int = CHUNK, limit: int | None = None) -> Iterator[Chunk]:
        """The kept samples, or about ``limit`` of them evenly spaced, in chunks of ``size``."""
        retained = self._retained
        if limit is not None and limit < len(retained):
            retained = [retained[i] for i in np.linspace(0, len(retained) - 1, limit).round().astype(int)]
        for start in range(0, len(retained), size):
            yield _joined(retained[start : start + size])


def _iterate(batches: Iterable[Any]) -> Iterator[Any]:
    if isinstance(batches, np.ndarray | torch.Tensor):
        raise CalibrationError(
            "calibration batches are a sequence of arrays (n, ...), not one array: give [x] instead of x"
        )
    empty = True
    for batch in batches:
        empty = False
        yield batch
    if empty:
        raise CalibrationError("there are no calibration batches: give at least one batch of typical inputs")


def _checked(graph: FloatGraph, batch: Any, index: int) -> Chunk:  # noqa: ANN401 (whatever the caller has)
    where = f"calibration batch {index}"
    if isinstance(batch, Mapping):
        arrays = dict(batch)
    elif isinstance(batch, Sequence) and not isinstance(batch, np.ndarray):
        arrays = dict(zip(graph.inputs, batch, strict=False))
        if len(batch) != len(graph.inputs):
            raise CalibrationError(f"{where} holds {len(batch)} arrays for {len(graph.inputs)} inputs")
    else:
        arrays = {graph.inputs[0]: batch}
    if set(arrays) != set(graph.inputs):
        raise CalibrationError(f"{where} gives {', '.join(map(str, arrays))}; inputs are {', '.join(graph.inputs)}")
    checked = {name: _tensor(arrays[name], graph.caller_shape(name), f"{where}, {name}") for name in graph.inputs}
    if len({len(value) for value in checked.values()}) > 1:
        raise CalibrationError(f"{where}: its inputs are of different numbers of samples")
    if not _samples(checked):
        raise CalibrationError(f"{where} holds no sample")
    return {name: value.movedim(-1, 1) if graph.is_channels_last(name) else value for name, value in checked.items()}


def _tensor(value: Any, shape: tuple[int, ...], where: str) -> torch.Tensor:  # noqa: ANN401
    if not isinstance(value, np.ndarray | torch.Tensor):
        raise CalibrationError(f"{where}: an array or a tensor is expected, not {type(value).__name__}")
    expected = f"(n, {', '.join(map(str, shape))})"
    if tuple(value.shape[1:]) != shape or value.ndim != len(shape) + 1:
        raise CalibrationError(f"{where}: the shape is {expected}, not {tuple(value.shape)}")
    tensor = torch.as_tensor(value).detach().to("cpu")
    if not tensor.is_floating_point():
        raise CalibrationError(f"{where}: float32 is expected, not {tensor.dtype}: preprocess as for the float network")
    tensor = tensor.to(torch.float32)
    wrong = ~torch.isfinite(tensor)
    if bool(wrong.any()):
        sample = int(wrong.flatten(1).any(dim=1).nonzero()[0])
        raise CalibrationError(
            f"{where}, sample {sample}: {int(wrong[sample].sum())} of {tensor[sample].numel()} values are NaN or "
            "infinite; leave it out or mend it"
        )
    return tensor


def _samples(chunk: Chunk) -> int:
    return len(next(iter(chunk.values())))


def _joined(parts: list[Chunk]) -> Chunk:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
