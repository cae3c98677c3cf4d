"""Third-party TFLite files: do an imported program's integers equal LiteRT's?

    python -m benchmarks.tflite_equality [MODEL.tflite]

Runs an image network (a vendor's EfficientNet-Lite3 if none is named) with every tensor an output, once with LiteRT's
default kernels (XNNPACK) and once with its reference kernels, and compares each integer tensor with what the reference
computes from LiteRT's own integers before it; then the outputs of a ``Session`` that is given the photo alone. Needs
ai-edge-litert and flatbuffers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.import_equality import Seen
from oaq.capture.from_tflite import import_tflite
from oaq.capture.imported import Imported
from oaq.kernels.plan import plan
from oaq.numerics.requantize import Semantics
from oaq.overflow.settle import settle
from oaq.reference import compute
from oaq.runtime import Session
from oaq.terminal import say
from recipes.data.photos import labelled
from recipes.data.quantized import efficientnet_lite3

Array = NDArray[Any]
PHOTOS = 20
WHOLE = "oaq.Session, whole network"
KERNELS: Mapping[str, tuple[str, Semantics]] = {
    "XNNPACK (default)": ("AUTO", "float32_half_even"),
    "reference": ("BUILTIN_REF", "fixed_point"),
}
"""LiteRT's kernels, and the semantics a file is imported with to be like them."""
NOTES = (
    "Operators: every tensor, computed by oaq's reference from LiteRT's own integers before it, so that one difference "
    "does not make others. The whole network: from the photo alone, so that they add up.",
    "LiteRT's reference kernels round sums twice, oaq's fixed_point once: one step apart, only on ties of the first.",
)


def with_every_output(content: bytes, names: Sequence[str]) -> bytes:
    """``content`` with further tensors as outputs."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    by_name = {tensor.name.decode(): index for index, tensor in enumerate(graph.tensors)}
    further = (by_name[name] for name in names if name in by_name)
    graph.outputs = list(dict.fromkeys([*map(int, graph.outputs), *further]))
    model.signatureDefs = []
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def runs(content: bytes, resolver: str, names: Sequence[str], photos: Sequence[Array]) -> Iterator[dict[str, Array]]:
    """What LiteRT's tensors hold, photo by photo."""
    from ai_edge_litert import interpreter as litert

    kernels = getattr(litert.OpResolverType, resolver)
    interpreter: Any = litert.Interpreter(model_content=content, experimental_op_resolver_type=kernels, num_threads=1)
    interpreter.allocate_tensors()
    (input_details,) = interpreter.get_input_details()
    index = {details["name"]: details["index"] for details in interpreter.get_tensor_details()}
    for photo in photos:
        interpreter.set_tensor(input_details["index"], photo.astype(input_details["dtype"]))
        interpreter.invoke()
        yield {name: np.array(interpreter.get_tensor(index[name])) for name in names if name in index}


def as_held(imported: Imported, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """LiteRT's integers as the program holds them, (1, *shape) uint8, by the program's names."""
    return {
        name: (tensors[source.name].astype(np.int16) + source.offset)
        .astype(np.uint8)
        .reshape(len(tensors[source.name]), *imported.program.tensors[name].shape)
        for name, source in imported.tensors.items()
        if source.name in tensors
    }


def compare(imported: Imported, tensors: Mapping[str, Array], comparison: Seen) -> None:
    """Each node of the program on what LiteRT had."""
    program, values = imported.program, as_held(imported, tensors)
    computed = {name: values[name] for name in program.inputs}
    for node in program.nodes:
        inputs = [computed[name] for name in node.inputs]
        law, _ = compute(node, inputs, program.specs(node), program.tensors[node.output])
        if node.output in values:
            comparison.add(type(node.op).__name__, law, values[node.output])
        else:
            comparison.skipped[node.name] = None
        computed[node.output] = values.get(node.output, law)


def compare_whole(session: Session, imported: Imported, tensors: Mapping[str, Array], comparison: Seen) -> None:
    """The program's outputs, computed in native code from its inputs alone."""
    program, values = imported.program, as_held(imported, tensors)
    computed = session.run_integers(tuple(values[name] for name in program.inputs))
    for name, result in zip(program.outputs, computed, strict=True):
        comparison.add(WHOLE, result, values[name])


def prepared(model: Path, count: int) -> list[Array]:
    """Photos as the file's own input integers."""
    from PIL import Image

    spec = next(iter(import_tflite(model).program.tensors.values()))
    size = (spec.shape[1], spec.shape[0])
    integers = []
    for photo_file in labelled()[:count]:
        photo = Image.open(photo_file.path).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        real = (np.asarray(photo, np.float32) - 127.0) / 128.0
        integers.append(spec.affine.quantize(real, spec.range)[None])
    return integers


def measured(model: Path, resolver: str, semantics: Semantics, photos: Sequence[Array]) -> Seen:
    """All photos with one kind of kernels."""
    imported, comparison = import_tflite(model, requantize=semantics), Seen()
    names = sorted({source.name for source in imported.tensors.values()})
    content = with_every_output(model.read_bytes(), names)
    offset = imported.tensors[imported.program.inputs[0]].offset
    files = [photo.astype(np.int16) - offset for photo in photos]
    session = Session(plan(settle(imported.program).program))
    for tensors in say.track(runs(content, resolver, names, files), resolver, len(files)):
        compare(imported, tensors, comparison)
        compare_whole(session, imported, tensors, comparison)
    return comparison


def main() -> None:
    """Measure and write ``results/tflite_equality.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="a .tflite file")
    add_record(parser)
    flags = parser.parse_args()
    model = flags.model or efficientnet_lite3()
    rows, photos = [], prepared(model, PHOTOS)
    for kernels, (resolver, semantics) in KERNELS.items():
        comparison = measured(model, resolver, semantics, photos)
        rows += [
            (
                ("kernels", kernels),
                ("semantics", semantics),
                ("operator", kind),
                ("integers", str(comparison.integers[kind])),
                ("differ", str(comparison.differ[kind])),
                ("most steps", str(comparison.most[kind])),
            )
            for kind in sorted(comparison.integers)
        ]
        say.words("\n".join(str(dict(row)) for row in rows[-len(comparison.integers) :]))
        say.words(f"skipped: {list(comparison.skipped)}")
    facts = (("model", model.name), ("photos", str(len(photos))))
    command = "python -m benchmarks.tflite_equality" + (f" {model.name}" if flags.model else "")
    save(
        Result("tflite_equality", command, stamp(), facts=facts, rows=tuple(rows), notes=NOTES),
        "tflite_equality",
        record=flags.record,
    )


if __name__ == "__main__":
    main()
