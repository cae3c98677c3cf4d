"""Repair of dynamic ONNX files: new weights and scales for the outputs whose pairs can leave a register.

No shape of the file has to be known and no data, for operands cover their type whatever their scale. Where the file has
one scale for a matrix, the outputs that need one get their own: a vector in its place. Zero points of changed outputs
become 0. No changed output is farther from what it was than 7 bits everywhere would leave it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, log10
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.capture.from_dynamic_onnx import DynamicFile, DynamicProduct, decode_dynamic
from oaq.capture.from_dynamic_onnx.importer import import_file, multiplied
from oaq.capture.imported import Imported
from oaq.capture.model_file import stored_unsigned
from oaq.doctor import Diagnosis, RegisterModel, diagnose
from oaq.doctor.diagnosis import sentence
from oaq.errors import AccumulatorOverflow, UnsupportedOp
from oaq.numerics.formats import S8
from oaq.program.int_program import Node
from oaq.repair.channels import fitted
from oaq.repair.layer import SEVEN_BITS
from oaq.repair.limits import limits_of
from oaq.repair.metric import Metric, assumed
from oaq.repair.repaired import LayerRepair, Repaired

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]
SHARED_SCALE: Final = (
    "{}: the scale of its weights is not read by it alone, so its weights were only rounded again at the scale there is"
)


@dataclass(frozen=True, eq=False)
class DynamicChange:
    """New numbers of one matrix.

    Attributes:
        weight: (N, K) int8, or (N, KH, KW, C) flattened to that.
        zero: (N,) zero points, in the weights' type.
        scale: (N,) float32.
        outputs: (U,) that are changed.
        factor: (U,) by which their scales grow.
        sqnr, sqnr_seven_bits: see ``LayerRepair``.
    """

    weight: Ints
    zero: Ints
    scale: NDArray[np.float32]
    outputs: NDArray[np.intp]
    factor: Reals
    sqnr: float
    sqnr_seven_bits: float


def repair_dynamic(content: bytes, file: DynamicFile, model: RegisterModel, folder: Path) -> Repaired:
    """Make a dynamic file safe on a register model, for every input, changing its unsafe outputs only.

    Args:
        content: bytes of the file.
        file: the same, read.
        model: the registers.
        folder: where the file's external data lie.

    Raises:
        UnsupportedOp: the file cannot be changed.
        AccumulatorOverflow: no weights of these layers would be safe on that model.
    """
    from oaq.repair.dynamic_file import rewritten, uses_other_files  # loads onnx

    imported = import_file(file)
    before = _diagnosed(imported, model)
    outside = folder if uses_other_files(content) else None
    unsafe = [node for node in imported.program.summing_nodes() if not before[node.name].verdicts[model.name].is_safe]
    if not unsafe:
        return Repaired(content, (), before, before, imported.notes, outside)
    products = {product.node: product for product in file.products}
    changes: dict[str, DynamicChange] = {}
    notes = list(imported.notes)
    for node in unsafe:
        product = products[node.name]
        users = [user for user in file.products if user.weight_name == product.weight_name]
        rescales = all(user.use is not None for user in users)
        if not rescales:
            notes.append(SHARED_SCALE.format(node.name))
        changes[node.name] = _changed(node, product, (before, model, imported), rescales=rescales)
    _require_agreement(changes, products)
    content = rewritten(content, file.where, [(products[name], change) for name, change in changes.items()])
    after = _proved(content, file, folder, (changes, imported), model)
    layers = tuple(_summary(node, changes[node.name]) for node in unsafe)
    return Repaired(content, layers, before, after, tuple(notes), outside)


def _diagnosed(imported: Imported, model: RegisterModel) -> Diagnosis:
    return diagnose(imported.program, (model,), unsigned=stored_unsigned(imported), notes=imported.notes)


def exact_weight(product: DynamicProduct) -> Ints:
    """(N, K) what the weights stand for: less their zero points."""
    weight = multiplied(product).astype(np.int64)
    flat = weight.reshape(len(weight), -1)
    return flat - product.zero.astype(np.int64).reshape(-1, 1) if product.weight.dtype == np.int8 else flat


def _changed(
    node: Node, product: DynamicProduct, what_is: tuple[Diagnosis, RegisterModel, Imported], *, rescales: bool
) -> DynamicChange:
    """``what_is``: the doctor's word, on which registers, about which program."""
    before, model, imported = what_is
    verdict, spec = before[node.name].verdicts[model.name], imported.program.specs(node)[0]
    limits = limits_of(node.products, spec, model)
    if verdict.why or limits.is_idle:
        raise AccumulatorOverflow(f"{sentence(before[node.name], model.name)}. No other weights would mend that")
    if product.weight.dtype == np.uint8:
        raise UnsupportedOp(
            f"{node.name}: its weights are uint8, which kernels of {model.name} do not multiply in pairs; quantize "
            "them to int8 first"
        )
    least = int(product.weight.min())
    limits = replace(limits, least=min(least, -S8.hi), most=S8.hi)
    outputs = verdict.unsafe.astype(np.intp)
    weight, terms = exact_weight(product), node.products.terms
    metric = assumed(spec, terms).independent()
    rows = metric.for_outputs(outputs, len(weight))
    nearest = fitted(weight[outputs], limits, rows, rescales=rescales, coarser=np.ones(len(outputs)))
    integers, factor = nearest.weight.copy(), nearest.factor.copy()
    if rescales:
        seven = np.rint(weight[outputs] * SEVEN_BITS).astype(np.int64)
        better = rows.errors(seven / SEVEN_BITS - weight[outputs]) < nearest.error
        better &= limits.holds(seven)
        integers[better], factor[better] = seven[better], 1 / SEVEN_BITS
    return _as_change(product, weight, (outputs, integers, factor), metric)


def _as_change(
    product: DynamicProduct, weight: Ints, numbers: tuple[NDArray[np.intp], Ints, Reals], metric: Metric
) -> DynamicChange:
    outputs, integers, factor = numbers
    count = len(weight)
    old_scale = np.ones(1, np.float32) if product.scale is None else product.scale.reshape(-1)
    scale = np.array(np.broadcast_to(old_scale, (count,)), np.float32)
    old = scale.astype(np.float64)
    with np.errstate(over="ignore"):
        scale[outputs] = (old[outputs] * factor).astype(np.float32)
    if not np.isfinite(scale).all() or not scale[outputs].all():
        raise UnsupportedOp(
            f"{product.node}: scales of its weights are 0, infinite or too near to that, from {old.min():g} to "
            f"{old.max():g}: no other weights stand for the same numbers. Quantize the layer anew"
        )
    exact_factor = scale.astype(np.float64)[outputs] / old[outputs]
    zero = np.array(np.broadcast_to(product.zero.astype(np.int64), (count,)))
    stored = weight + zero[:, None]
    zero[outputs], stored[outputs] = 0, integers
    error, coarse = np.zeros(weight.shape), np.rint(weight * SEVEN_BITS) / SEVEN_BITS - weight
    error[outputs] = integers * exact_factor[:, None] - weight[outputs]
    rows = metric.for_outputs(np.arange(count), count)
    signal = float((rows.errors(weight.astype(np.float64)) * old**2).sum())

    def decibels(off: Reals) -> float:
        noise = float((rows.errors(off) * old**2).sum())
        return inf if noise == 0 or signal == 0 else 10 * log10(signal / noise)

    return DynamicChange(stored, zero, scale, outputs, exact_factor, decibels(error), decibels(coarse))


def _require_agreement(changes: Mapping[str, DynamicChange], products: Mapping[str, DynamicProduct]) -> None:
    """Layers that share weights get the same ones.

    Raises:
        UnsupportedOp: they would get others, or one of them none.
    """
    by_weight: dict[str, list[str]] = {}
    for name, product in products.items():
        by_weight.setdefault(product.weight_name, []).append(name)
    for names in by_weight.values():
        changed = [changes[name] for name in names if name in changes]
        if not changed or len(names) == 1:
            continue
        agree = len(changed) == len(names) and all(
            np.array_equal(change.weight, changed[0].weight) and np.array_equal(change.scale, changed[0].scale)
            for change in changed
        )
        if not agree:
            raise UnsupportedOp(
                f"{products[names[0]].weight_name}: the layers {', '.join(names)} share these weights at different "
                "scales; give each its own copy first"
            )


def _proved(
    content: bytes,
    file: DynamicFile,
    folder: Path,
    changed: tuple[Mapping[str, DynamicChange], Imported],
    model: RegisterModel,
) -> Diagnosis:
    """The doctor's word on the new file, once it is known to hold what was meant and nothing else."""
    changes, imported = changed
    new_file = decode_dynamic(content, f"{file.where}, repaired", folder)
    new = import_file(new_file)
    layers = {node.name: node for node in new.program.summing_nodes()}
    products = {product.node: product for product in new_file.products}
    for node in imported.program.summing_nodes():
        change = changes.get(node.name)
        weight: NDArray[np.integer] = node.products.rows if change is None else change.weight
        is_right = node.name in layers and np.array_equal(layers[node.name].products.rows, weight)
        if is_right and change is not None:
            is_right = _stands(products[node.name], change)
        if not is_right:
            raise UnsupportedOp(
                f"{node.name}: read again, the repaired file holds other numbers than were written; its constants are "
                "shared in a way that oaq does not see. Give every layer its own weights and scale first"
            )
    after = _diagnosed(new, model)
    after.raise_if_unsafe()
    return after


def _stands(product: DynamicProduct, change: DynamicChange) -> bool:
    zero = np.broadcast_to(product.zero.astype(np.int64), change.zero.shape)
    if product.scale is None:
        return bool(np.array_equal(zero, change.zero) and np.all(change.factor == 1))
    scale = np.broadcast_to(product.scale.reshape(-1), change.scale.shape)
    return bool(np.array_equal(zero, change.zero) and np.array_equal(scale, change.scale))


def _summary(node: Node, change: DynamicChange) -> LayerRepair:
    outputs, terms = change.weight.shape
    return LayerRepair(
        node.name,
        outputs,
        terms,
        change.outputs,
        change.factor,
        int(np.count_nonzero(change.weight != node.products.rows)),
        change.sqnr,
        change.sqnr_seven_bits,
        False,
    )
