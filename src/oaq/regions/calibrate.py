"""The whole float network run on samples: what passes into regions of integers, and what comes out of the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_float_onnx.split import Split
from oaq.capture.graph import FloatChannelFunction, FloatFunction, FloatLinear, FloatNode, Unquantized
from oaq.errors import CalibrationError
from oaq.mixed.inference import InferenceSession
from oaq.regions.samples import Feed
from oaq.regions.source import FloatFile


class FloatRunner:
    """Runs a float file and looks at tensors inside it.

    Attributes:
        outputs: names of the file's outputs.
    """

    def __init__(self, file: FloatFile, inside: Sequence[str], threads: int) -> None:
        """``inside``: names of the tensors that are looked at."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(file.model)
        self.outputs = tuple(value.name for value in model.graph.output)
        ends = {*self.outputs, *(port.name for port in file.inputs)}
        self._inside = tuple(inside)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside if name not in ends)
        self._session = InferenceSession(model.SerializeToString(), threads=threads)

    def run(self, feed: Feed) -> Feed:
        """Outputs and what is inside, by name."""
        names = [name for name in dict.fromkeys((*self.outputs, *self._inside)) if name not in feed]
        return {**dict(zip(names, self._session.run(names, feed), strict=True)), **feed}


def region_batches(
    split: Split, runner: FloatRunner, samples: Iterable[Feed]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Samples as the inputs of the graph of all regions.

    Where every region computes each position by itself, samples may differ in their number: as many positions as the
    first sample has are taken from each, evenly spaced, or repeated.

    Raises:
        CalibrationError: a sample has another size than the first, and regions look at several positions at once.
    """
    pointwise = all(_is_pointwise(node) for node in split.graph.nodes)
    for index, feed in enumerate(samples):
        values = runner.run(feed)
        batch = {}
        for end in split.entries:
            array = np.asarray(values[end.file], np.float32)
            expected = split.file.shape(end.file)
            fits = array.shape == expected or (pointwise and array.ndim == len(expected) and array.size)
            if not fits or array.shape[-1] != expected[-1]:
                raise CalibrationError(
                    f"calibration sample {index}: {end.file!r} has the shape {array.shape}, in the first sample it is "
                    f"{expected}; give samples of one size"
                )
            array = array[None] if end.is_rows else array
            sizes = (1, *expected) if end.is_rows else expected
            batch[end.tensor] = _spaced(array, sizes).transpose(end.order)
        yield batch


def _is_pointwise(node: FloatNode) -> bool:
    """Whether a result at one position depends on that position alone."""
    operator = node.op.operator if isinstance(node.op, Unquantized) else None
    own = isinstance(node.op, FloatLinear | FloatFunction | FloatChannelFunction)
    return own or operator in (ops.Add, ops.Mul, ops.Concat)


def _spaced(array: NDArray[np.float32], sizes: Sequence[int]) -> NDArray[np.float32]:
    """As many positions along each axis as ``sizes`` says, evenly spaced over those there are."""
    for axis, (size, target) in enumerate(zip(array.shape, sizes, strict=True)):
        if size != target:
            array = array.take(np.arange(target) * size // target, axis=axis)
    return array
