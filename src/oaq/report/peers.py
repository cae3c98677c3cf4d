"""Other people's runtimes, called the way their users call them: the other side of every comparison.

onnxruntime and openvino are optional and imported when asked for. Each peer is a callable on one float32 NCHW batch.
"""

from __future__ import annotations

import tempfile
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FloatBatch = NDArray[np.float32]
PeerInput = FloatBatch | Mapping[str, NDArray[typing.Any]]
"""One batch of the only input, or an array per input by name."""


@dataclass(frozen=True, eq=False)
class Peer:
    """One prepared runtime.

    Attributes:
        name: with its version.
        precision: "fp32" or "int8".
        isa: instruction set as far as known; peers choose the best of the CPU unless told otherwise.
        run: (N, C, H, W) float32, or arrays by input, to its first output.
        run_all: the same to all of its outputs in order; None where a runtime is asked for the first only.
    """

    name: str
    precision: str
    isa: str
    run: Callable[[PeerInput], FloatBatch]
    run_all: Callable[[PeerInput], Sequence[FloatBatch]] | None = None


def onnxruntime_peer(model: Path, precision: str, threads: int) -> Peer:
    """ONNX Runtime on the CPU with all graph optimisations, ``threads`` threads inside an operator.

    Its threads spin while it runs, as they do by default, and stop when it ends: they would take the CPU from the
    executor that has the next turn.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run_all(x: PeerInput) -> list[FloatBatch]:
        return typing.cast(list[FloatBatch], session.run(None, dict(x) if isinstance(x, Mapping) else {name: x}))

    title = f"onnxruntime {onnxruntime.__version__} {precision}"
    return Peer(title, precision, "best of the CPU", lambda x: run_all(x)[0], run_all)


def openvino_peer(model: Path, precision: str, threads: int) -> Peer:
    """OpenVINO on the CPU, latency mode, float32 kept where the file says float32 (no silent bfloat16)."""
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": 1,
    }
    compiled = core.compile_model(core.read_model(str(model)), "CPU", settings)
    request = compiled.create_infer_request()

    def run_all(x: PeerInput) -> list[FloatBatch]:
        results = request.infer(dict(x) if isinstance(x, Mapping) else [x], share_inputs=True)
        return [np.array(results[output]) for output in compiled.outputs]

    def run(x: PeerInput) -> FloatBatch:
        return np.array(
            request.infer(dict(x) if isinstance(x, Mapping) else [x], share_inputs=True)[compiled.output(0)]
        )

    version = openvino.__version__.split("-")[0]
    return Peer(f"openvino {version} {precision}", precision, "best of the CPU", run, run_all)


def quantize_by_onnxruntime(
    model: Path, out: Path, batches: Iterable[PeerInput], *, reduce_range: bool = False
) -> None:
    """int8 the way ONNX Runtime's documentation advises for x86: shape inference, then static QDQ quantization, U8S8.

    Weights have a scale per channel. The function's own defaults (S8S8, one scale per tensor) are slower on x86 and
    less precise; a comparison with them would flatter us.

    Args:
        model: float ONNX file.
        out: where the int8 file goes.
        batches: calibration data, (N, C, H, W) float32, taken apart; or one sample, by the names of several inputs.
        reduce_range: 7-bit weights, ONNX Runtime's own remedy for saturation.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = onnx.load(str(model), load_external_data=False).graph.input[0].name

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.samples: Iterator[Mapping[str, NDArray[typing.Any]]] = (
                sample for batch in batches for sample in _samples(batch, name)
            )

        def get_next(self) -> dict[str, NDArray[typing.Any]]:
            return dict(next(self.samples, {}))  # nothing ends the calibration

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(model), str(prepared))
        quantize_static(
            str(prepared),
            str(out),
            Reader(),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def _samples(batch: PeerInput, name: str) -> Iterator[Mapping[str, NDArray[typing.Any]]]:
    """One feed per sample."""
    if isinstance(batch, Mapping):
        yield batch
    else:
        yield from ({name: batch[index : index + 1]} for index in range(len(batch)))
