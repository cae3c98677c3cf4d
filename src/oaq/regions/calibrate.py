"""The whole float network run on samples: what passes into regions of integers, and what comes out of the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from oaq.capture.from_float_onnx.split import Split
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

    Raises:
        CalibrationError: a sample has another size than the first, on which the regions were cut.
    """
    for index, feed in enumerate(samples):
        values = runner.run(feed)
        batch = {}
        for end in split.entries:
            array = np.asarray(values[end.file], np.float32)
            expected = split.file.shape(end.file)
            if array.shape != expected:
                raise CalibrationError(
                    f"calibration sample {index}: {end.file!r} has the shape {array.shape}, in the first sample it is "
                    f"{expected}; give samples of one size"
                )
            batch[end.tensor] = array.transpose(end.order)
        yield batch
