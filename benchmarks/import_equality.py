"""Third-party ONNX files: do an imported program's integers equal ONNX Runtime's?

    python -m benchmarks.import_equality [efficientnet-lite0 mobilenet-v2]

Quantizes real networks with onnxruntime.quantization in every form it writes, imports each file, and compares every
integer tensor of the file with what the reference computes from ONNX Runtime's own integers before it. Layers that ONNX
Runtime computes in float after all are counted apart ("in float"): it does so with int8 activations in QDQ form on x86.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from benchmarks.harness import Result, add_record, save, stamp
from oaq import operators as ops
from oaq.capture.from_onnx import import_quantized
from oaq.capture.imported import Imported, TensorSource
from oaq.reference import compute
from oaq.terminal import say
from recipes.demo import load_data
from recipes.float_onnx import export_float
from recipes.networks import NETWORKS

Array = NDArray[np.generic]
EIGHT_BITS = (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)
CALIBRATION = 16
PHOTOS = 4
ROWS = 3
"""Axes of a batch of rows of vectors, (T, C), which the program holds as (T, 1, C)."""
DEFAULT = ("efficientnet-lite0", "mobilenet-v2")


@dataclass
class Seen:
    """What was compared.

    Attributes:
        integers: compared, by operator.
        differ: how many were not equal, by operator.
        most: largest difference in steps, by operator.
        skipped: nodes whose result the file has under no name of its own.
    """

    integers: dict[str, int] = field(default_factory=dict)
    differ: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, None] = field(default_factory=dict)

    def add(self, kind: str, law: NDArray[np.uint8], actual: NDArray[np.uint8]) -> None:
        """One tensor."""
        steps = np.abs(law.astype(np.int16) - actual.astype(np.int16))
        self.integers[kind] = self.integers.get(kind, 0) + steps.size
        self.differ[kind] = self.differ.get(kind, 0) + int(np.count_nonzero(steps))
        self.most[kind] = max(self.most.get(kind, 0), int(steps.max(initial=0)))

    @property
    def exact(self) -> bool:
        """True iff nothing differs that is defined on integers, and nothing else by more than one step."""
        summed = [kind for kind in self.integers if not is_float_kind(kind)]
        return not any(self.differ[kind] for kind in summed) and max(self.most.values(), default=0) <= 1


IN_FLOAT = ", in float"
FLOAT_KINDS = {
    kind.__name__ for kind in (ops.Add, ops.Mul, ops.Concat, ops.AvgPool, ops.GlobalAvgPool, ops.Lookup, ops.Resize)
}


def is_float_kind(kind: str) -> bool:
    """Whether ONNX Runtime computes that operator in float, in an order of its own."""
    return kind in FLOAT_KINDS or kind.endswith(IN_FLOAT)


def compare_with_onnxruntime(
    path: str | Path, imported: Imported, feeds: Iterable[Mapping[str, Array]], level: object | None = None
) -> Seen:
    """Run the file in ONNX Runtime with every 8-bit tensor an output, and each node of the program on what it had.

    Args:
        path: of the file.
        imported: the same file.
        feeds: by the file's inputs, one after the other.
        level: of graph optimisation; None is all.
    """
    model, comparison = onnx.load(path), Seen()
    names = eight_bit_tensors(model, imported)
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        for tensors in runs(model, names, feeds, level, optimized):
            _compare(imported, tensors, comparison, computed_by(optimized))
    return comparison


def computed_by(optimized: Path) -> dict[str, str]:
    """The operator that writes each tensor once ONNX Runtime has fused what it fuses."""
    graph = onnx.load(optimized, load_external_data=False).graph
    return {name: node.op_type for node in graph.node for name in node.output}


def _compare(imported: Imported, tensors: Mapping[str, Array], comparison: Seen, writers: Mapping[str, str]) -> None:
    program = imported.program
    values = {
        name: as_program(tensors[source.name], source, program.tensors[name].shape)
        for name, source in imported.tensors.items()
        if source.name in tensors and (source.axes is not None or tensors[source.name].ndim == ROWS)
    }
    inputs = {name: values[name] for name in program.inputs if name in values}
    unseen: dict[str, str] = {}  # the operator that a tensor comes from which the file has under no name of its own
    for node in program.nodes:
        if any(name not in inputs for name in node.inputs):
            comparison.skipped[node.name] = None
            continue
        law, _ = compute(
            node, [inputs[name] for name in node.inputs], program.specs(node), program.tensors[node.output]
        )
        kind = type(node.op).__name__
        if ops.rules_of(node.op).same_affine and is_float_kind(unseen.get(node.inputs[0], "")):
            kind = unseen[node.inputs[0]]
        if node.output in values:
            sums = isinstance(node.op, ops.Products)
            if sums and writers.get(imported.tensors[node.output].name) == "QuantizeLinear":
                kind += IN_FLOAT
            comparison.add(kind, law, values[node.output])
        else:
            comparison.skipped[node.name] = None
            unseen[node.output] = kind
        inputs[node.output] = values.get(node.output, law)


def eight_bit_tensors(model: onnx.ModelProto, imported: Imported) -> list[str]:
    """Names of the file's integer tensors that the program has too."""
    names = {source.name for source in imported.tensors.values()}
    types = _types(model)
    return [name for name in dict.fromkeys(_written(model)) if name in names and types.get(name) in EIGHT_BITS]


def _written(model: onnx.ModelProto) -> list[str]:
    return [
        *(value_info.name for value_info in model.graph.input),
        *(name for node in model.graph.node for name in node.output),
    ]


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Element types: of QuantizeLinear and QLinear operators from their zero points, of movers from what they move."""
    constants = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = node.attribute[0].t.data_type
    element_types = {value_info.name: value_info.type.tensor_type.elem_type for value_info in model.graph.input}
    zero = {"QLinearConv": 7, "QLinearMatMul": 7, "QLinearAdd": 7, "QLinearMul": 7, "QGemm": 8, "QLinearConcat": 1}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" or node.op_type.startswith(("QLinear", "QGemm")):
            place = zero.get(node.op_type, 2 if node.op_type == "QuantizeLinear" else 4)
            zero_point = node.input[place] if len(node.input) > place else ""
            if node.op_type == "QGemm" and not zero_point:
                continue
            stated = next((a.i for a in node.attribute if a.name == "output_dtype" and a.i), onnx.TensorProto.UINT8)
            element_types[node.output[0]] = constants.get(zero_point, stated)
        elif node.op_type in ("MaxPool", "Transpose", "Reshape", "Flatten", "Clip", "Relu", "Slice", "Pad", "Gather"):
            source = constants.get(node.input[0], element_types.get(node.input[0], 0))
            if source in EIGHT_BITS:
                element_types[node.output[0]] = source
    return element_types


def runs(
    model: onnx.ModelProto,
    names: Sequence[str],
    feeds: Iterable[Mapping[str, Array]],
    level: object | None,
    optimized: Path,
) -> Iterator[dict[str, Array]]:
    """The tensors ``names`` of each feed, computed by ONNX Runtime, whose optimized graph goes to ``optimized``."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    present = {value_info.name for value_info in (*tapped.graph.output, *tapped.graph.input)}
    types = _types(model)
    for name in names:
        if name not in present:
            tapped.graph.output.append(onnx.helper.make_tensor_value_info(name, types[name], None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level or onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(tapped.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {graph_input.name for graph_input in session.get_inputs()}
    fetched = [name for name in names if name not in inputs]
    for feed in feeds:
        results = session.run(fetched, dict(feed)) if fetched else []
        tensors: dict[str, Array] = {name: np.asarray(feed[name]) for name in names if name in inputs}
        tensors.update((name, np.asarray(value)) for name, value in zip(fetched, results, strict=True))
        yield tensors


def as_program(value: Array, source: TensorSource, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A tensor of the file as the program has it."""
    u8 = (value.astype(np.int16) + source.offset).astype(np.uint8)
    if source.axes is not None:
        axes = (0, *source.axes)
        u8 = u8.transpose(*axes, *range(len(axes), u8.ndim))  # further axes are of size 1
    return u8.reshape(u8.shape[0], *shape)


def quantized_files(folder: Path, float_model: Path, photos: Sequence[Array]) -> dict[str, Path]:
    """One file per form that onnxruntime.quantization writes."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        """Photos, one at a time."""

        def __init__(self) -> None:
            name = onnx.load(float_model).graph.input[0].name
            self._photos = iter([{name: photo[None]} for photo in photos])

        def get_next(self) -> dict[str, Array]:
            """An empty dictionary ends the calibration as None does."""
            return next(self._photos, {})

    forms = {
        "QDQ U8S8 per channel": (QuantFormat.QDQ, QuantType.QUInt8, QuantType.QInt8, True),
        "QDQ U8S8 per tensor": (QuantFormat.QDQ, QuantType.QUInt8, QuantType.QInt8, False),
        "QDQ U8U8 per tensor": (QuantFormat.QDQ, QuantType.QUInt8, QuantType.QUInt8, False),
        "QDQ S8S8 per channel": (QuantFormat.QDQ, QuantType.QInt8, QuantType.QInt8, True),
        "QOperator U8S8 per channel": (QuantFormat.QOperator, QuantType.QUInt8, QuantType.QInt8, True),
        "QOperator U8U8 per tensor": (QuantFormat.QOperator, QuantType.QUInt8, QuantType.QUInt8, False),
        "QOperator S8S8 per tensor": (QuantFormat.QOperator, QuantType.QInt8, QuantType.QInt8, False),
    }
    files = {}
    for name, (form, activations, weights, per_channel) in forms.items():
        path = folder / f"{name}.onnx"
        quantize_static(
            float_model,
            path,
            Reader(),
            quant_format=form,
            activation_type=activations,
            weight_type=weights,
            per_channel=per_channel,
        )
        files[name] = path
    return files


def main() -> None:
    """Measure and write ``results/import_equality.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)} (default: two)")
    rows = []
    add_record(parser)
    flags = parser.parse_args()
    for name in flags.networks or DEFAULT:
        network = NETWORKS[name]
        data = load_data(network, CALIBRATION)
        photos = np.concatenate(list(data.calibration))[:CALIBRATION]
        with tempfile.TemporaryDirectory() as folder:
            float_model = Path(folder) / "float.onnx"
            export_float(network.load(), photos[:1], float_model)
            for form, path in say.track(list(quantized_files(Path(folder), float_model, list(photos)).items()), name):
                imported = import_quantized(path)
                comparison = compare_with_onnxruntime(
                    path, imported, [{"x": photo[None]} for photo in data.views[:PHOTOS]]
                )
                rows += [
                    (
                        ("network", name),
                        ("form", form),
                        ("operator", kind),
                        ("integers", str(comparison.integers[kind])),
                        ("differ", str(comparison.differ[kind])),
                        ("most steps", str(comparison.most[kind])),
                    )
                    for kind in sorted(comparison.integers)
                ]
                if not comparison.exact:
                    raise SystemExit(f"{name}, {form}: {comparison}")
    save(
        Result(
            "import_equality",
            "python -m benchmarks.import_equality",
            stamp(),
            facts=(("photos", str(PHOTOS)), ("onnxruntime", onnxruntime.__version__)),
            rows=tuple(rows),
        ),
        "import_equality",
        record=flags.record,
    )


if __name__ == "__main__":
    main()
