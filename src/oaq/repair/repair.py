"""``repair``: the smallest change of a quantized ONNX file after which a register model is proved safe for it.

1. The doctor says which outputs of which layers are not safe for every input.
2. Each of those gets other weights: rounded again inside the budgets of its registers, or that on a coarser scale of
   its own; whichever is nearer to what it was. Where a file has one scale per layer, that one may become coarser.
3. These weights, their scales and biases are written into the file; nothing else in it changes.
4. The new file is read again from its bytes: it must hold exactly these integers, and the doctor must find it safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_dynamic_onnx import decode_dynamic
from oaq.capture.from_onnx import OnnxGraph, decode, import_graph
from oaq.capture.imported import Imported, LayerSource
from oaq.capture.model_file import stored_unsigned
from oaq.doctor import Diagnosis, RegisterModel, diagnose, registers_named
from oaq.doctor.diagnosis import LayerVerdict, sentence
from oaq.errors import AccumulatorOverflow, FormatError, UnsupportedOp
from oaq.operators import TensorSpec
from oaq.operators.products import multipliers_of
from oaq.program.int_program import Node
from oaq.repair.dynamic import repair_dynamic
from oaq.repair.layer import Change, ScaleForm, change
from oaq.repair.limits import coarsening, limits_of
from oaq.repair.metric import Metric, assumed, measured
from oaq.repair.observe import ObservedOperands, SampleBatch, observed
from oaq.repair.repaired import LayerRepair, Repaired
from oaq.repair.stored import write_layer

if TYPE_CHECKING:
    from oaq.repair.onnx_file import OnnxFile

STALE: Final = "its certificate was about other weights and is left out"


def repair(
    path: str | Path,
    registers: str | RegisterModel = "avx2-acc32",
    data: Iterable[SampleBatch] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> Repaired:
    """Make a quantized ONNX file safe on a register model, for every input, changing its unsafe outputs only.

    Args:
        path: of the file, in any form ``capture.from_onnx`` reads; or with activations quantized as they come
            (DynamicQuantizeLinear), of which no shape has to be known.
        registers: a register model of ``oaq.doctor``, by name; "N bits" is one register for all of K.
        data: samples as the file takes them, in batches. They decide which errors matter most, and let biases take
            back what new weights do to the mean. Safety never depends on them.
        input_shapes: by input, for files that leave more open than the batch.

    Raises:
        FormatError, UnsupportedOp: the file cannot be read, or not be changed.
        AccumulatorOverflow: no weights of these layers would be safe on that model.
        CalibrationError: ``data`` do not fit.
        ProgramError: no such register model.
    """
    from oaq.repair.onnx_file import OnnxFile, uses_other_files  # loads onnx

    model = registers if isinstance(registers, RegisterModel) else registers_named((registers,))[0]
    content, folder = _read(Path(path))
    dynamic = decode_dynamic(content, str(path), folder)
    if dynamic.is_dynamic and data is None:
        return repair_dynamic(content, dynamic, model, folder)
    graph = decode(content, str(path), folder, input_shapes)
    imported = import_graph(graph)
    before = _diagnosed(imported, model)
    outside = folder if uses_other_files(content) else None
    unsafe = [node for node in imported.program.summing_nodes() if not before[node.name].verdicts[model.name].is_safe]
    if not unsafe:
        return Repaired(content, (), before, before, imported.notes, outside)
    file = OnnxFile(content, graph)
    forms = _refuse(unsafe, imported, before, (model, file))
    operands = observed(OnnxFile(content, graph), imported, unsafe, data) if data is not None else {}
    changes = {}
    for node in unsafe:
        layer_verdict = before[node.name].verdicts[model.name]
        changes[node.name] = _changed(node, imported, (layer_verdict, model, forms[node.name]), operands.get(node.name))
        write_layer(file, imported.sources[node.name], changes[node.name], _steps(node, imported))
    notes = [*imported.notes, *_unwritten(forms, graph.opset), *([STALE] if file.drop_certificate() else [])]
    content = file.content()
    after = _proved(_reread(content, graph, folder, input_shapes), imported, changes, model)
    layers = tuple(_summary(node, changes[node.name], node.name in operands) for node in unsafe)
    return Repaired(content, layers, before, after, tuple(notes), outside)


def _read(path: Path) -> tuple[bytes, Path]:
    try:
        return path.read_bytes(), path.parent
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _diagnosed(imported: Imported, model: RegisterModel) -> Diagnosis:
    return diagnose(imported.program, (model,), unsigned=stored_unsigned(imported))


def _refuse(
    unsafe: Sequence[Node], imported: Imported, before: Diagnosis, target: tuple[RegisterModel, OnnxFile]
) -> dict[str, ScaleForm]:
    """Refuse what weights cannot mend, or the file cannot hold, before anything is done; else the scales it can hold.

    ``target``: the registers, and the file.
    """
    model, file = target
    users: dict[str, list[str]] = {}
    for name, source in imported.sources.items():
        users.setdefault(source.weight.name, []).append(name)
    forms: dict[str, ScaleForm] = {}
    for node in unsafe:
        layer_verdict = before[node.name].verdicts[model.name]
        if layer_verdict.why:
            raise AccumulatorOverflow(f"{sentence(before[node.name], model.name)}. No other weights would mend that")
        if node.name not in imported.sources:
            raise UnsupportedOp(
                f"{node.name}: its weights cannot be found in the file, so they cannot be changed there"
            )
        source = imported.sources[node.name]
        name, shared = source.weight.name, users[source.weight.name]
        if len(shared) > 1:
            raise UnsupportedOp(
                f"{name}: the layers {', '.join(shared)} share these weights; give each its own copy first"
            )
        forms[node.name] = _scale_form(source, file)
        if forms[node.name] == "fixed" and not layer_verdict.total_safe.all():
            raise AccumulatorOverflow(
                f"{sentence(before[node.name], model.name)}. A coarser scale would mend that, but the file keeps none "
                "for these weights that could be changed"
            )
    return forms


def _scale_form(source: LayerSource, file: OnnxFile) -> ScaleForm:
    if source.weight_scale is None:
        return "fixed"
    if source.scale_per_output or len(source.scales) == 1:
        return "own"
    return "own" if file.can_spread(source.weight_scale.name, source.nodes) else "shared"


def _unwritten(forms: Mapping[str, ScaleForm], opset: int) -> list[str]:
    """Remedies that would be nearer and that the file cannot hold."""
    shared = sum(form == "shared" for form in forms.values())
    if not shared:
        return []
    return [
        f"{shared} of {len(forms)} unsafe layers have one scale for all outputs, and opset {opset} has no other: their "
        "outputs are rounded again, or all get one coarser scale, whichever changes sums less. With opset 13 or later "
        "only unsafe outputs would get a scale of their own: convert the file (onnx.version_converter) and repair that"
    ]


def _changed(
    node: Node,
    imported: Imported,
    task: tuple[LayerVerdict, RegisterModel, ScaleForm],
    operands: ObservedOperands | None,
) -> Change:
    """``task``: what is unsafe, on which registers, and which scales the file can hold."""
    layer_verdict, model, form = task
    op, spec = _layer(node, imported)
    source = imported.sources[node.name]
    weight = op.rows.astype(np.int64)
    metric: Metric = assumed(spec, weight.shape[1])
    if operands is not None:
        metric = measured(operands, spec.affine.zero_point, centred=source.bias is not None)
    limits = limits_of(op, spec, model, unsigned=source.weight.dtype == "uint8")
    outputs = layer_verdict.unsafe.astype(np.intp)
    coarser = coarsening(layer_verdict.total)[outputs]
    layer_change = change(weight, outputs, source.scales, limits, metric, form=form, coarser=coarser)
    return layer_change if source.bias is not None else replace(layer_change, shift=np.zeros(len(layer_change.outputs)))


def _steps(node: Node, imported: Imported) -> NDArray[np.float64]:
    """(N,) real value of one step of each output's sums."""
    op, _ = _layer(node, imported)
    return (
        multipliers_of(op, node.name).multiplier.astype(np.float64) * imported.program.tensors[node.output].affine.scale
    )


def _layer(node: Node, imported: Imported) -> tuple[ops.Products, TensorSpec]:
    return node.products, imported.program.specs(node)[0]


def _reread(
    content: bytes, graph: OnnxGraph, folder: Path, input_shapes: Mapping[str, Sequence[int]] | None
) -> Imported:
    return import_graph(decode(content, f"{graph.where}, repaired", folder, input_shapes))


def _proved(new: Imported, old: Imported, changes: Mapping[str, Change], model: RegisterModel) -> Diagnosis:
    """The doctor's word on the new file, once it is known to hold what was meant and nothing else."""
    layers = {node.name: node for node in new.program.summing_nodes()}
    for node in old.program.summing_nodes():
        layer_change = changes.get(node.name)
        if node.name not in layers or not _is_meant(layers[node.name], node, layer_change):
            raise UnsupportedOp(
                f"{node.name}: read again, the repaired file holds other integers than were written; its constants are "
                "shared in a way that oaq does not see. Give every layer its own weights, scale and bias first"
            )
    after = _diagnosed(new, model)
    after.raise_if_unsafe()
    return after


def _is_meant(new: Node, old: Node, layer_change: Change | None) -> bool:
    written, source = new.products, old.products
    weight = source.weight if layer_change is None else layer_change.weight.reshape(source.weight.shape)
    if written.weight.shape != weight.shape or not np.array_equal(written.weight, weight):
        return False
    unchanged = np.setdiff1d(np.arange(len(weight)), [] if layer_change is None else layer_change.outputs)
    return np.array_equal(written.bias[unchanged], source.bias[unchanged])


def _summary(node: Node, layer_change: Change, data: bool) -> LayerRepair:
    outputs, terms = layer_change.weight.shape
    old = node.products.rows
    return LayerRepair(
        node.name,
        outputs,
        terms,
        layer_change.outputs,
        layer_change.factor,
        int(np.count_nonzero(layer_change.weight != old)),
        layer_change.sqnr,
        layer_change.sqnr_seven_bits,
        data,
    )
