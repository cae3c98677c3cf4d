"""Derive every claim of a certificate again and compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.checker.forms import as_multiplied
from oaq.checker.modular import after_table, claims_of, folded_as_held, modulo_of
from oaq.checker.program import NamedArrays, Node, Program, digest, parse
from oaq.checker.ranges import Range, after_requantize, declared, image
from oaq.checker.registers import FORMS, RAW, Register, contradicts, register, trusted
from oaq.checker.schedules import check_schedule
from oaq.checker.sums import SummingLayer, Sums, derive, leaves_s32, summing_layer
from oaq.checker.verdict import Finding, Notes, Verdict
from oaq.errors import FormatError

SCHEMA = 1
KEYS = {"schema", "tier", "program", "assumptions", "tensors", "registers", "nodes", "signature"}
SUMMING = ("Conv2d", "Linear")
ASSUMPTIONS = frozenset(
    {
        "every integer of a program input lies in the effective range the program declares for it (the session checks)",
        "operands of a layer may take any values of their proved ranges, independently of each other",
        "kernels load raw integers, the zero point at padded positions, and add bias - zero_point * sum(weights) in "
        "s32",
        "each register behaves as its kernel row declares (exact, wraps, saturates), as the instruction manuals say",
        "float32 arithmetic is IEEE 754, round to nearest even, and is not contracted to fused multiply-add",
    }
)
"""What this checker takes for granted; a certificate that does not say so, or says more, is another promise."""
LAYOUTS = ("NCHW", "NHWC")


def check(
    header: Mapping[str, Any],
    arrays: NamedArrays,
    certificate: Mapping[str, Any],
    claims: NamedArrays,
    *,
    registers: Mapping[str, Mapping[str, Any]] | None = None,
) -> Verdict:
    """Re-derive a certificate from the program alone.

    Args:
        header: of the program, as parsed from JSON (``program.plain`` describes it).
        arrays: of the program.
        certificate: its header, as parsed from JSON (``overflow.certificate`` describes it).
        claims: its arrays.
        registers: models by name, of the rows that will run. One that allows more than the register this checker knows
            by that name is a finding. Names the checker does not know are taken from here, or from the certificate
            itself, and then listed under ``assumed``.

    Returns:
        safe, or every claim that does not hold.

    Raises:
        FormatError: the data is not a program or not a certificate.
    """
    try:
        return _check(header, arrays, certificate, claims, registers)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise FormatError(f"the program or its certificate is malformed: {type(error).__name__}: {error}") from error


def _check(
    header: Mapping[str, Any],
    arrays: NamedArrays,
    certificate: Mapping[str, Any],
    claims: NamedArrays,
    registers: Mapping[str, Mapping[str, Any]] | None,
) -> Verdict:
    program = parse(header, arrays)
    notes = Notes()
    if certificate.get("schema") != SCHEMA or set(certificate) != KEYS:
        raise FormatError(f"not a certificate of schema {SCHEMA}")
    assumptions = certificate["assumptions"]
    if not isinstance(assumptions, list) or not all(isinstance(sentence, str) for sentence in assumptions):
        raise FormatError("a certificate's assumptions are sentences")
    if set(assumptions) != ASSUMPTIONS:
        missing, more = sorted(ASSUMPTIONS - set(assumptions)), sorted(set(assumptions) - ASSUMPTIONS)
        notes.findings.append(Finding("", f"its assumptions lack {missing[:2]} and add {more[:2]}"))
    for key, layout in (header.get("metadata") or {}).items():
        if (key == "input_layout" or key.startswith("layout:")) and layout not in LAYOUTS:
            notes.findings.append(Finding("", f"declares {key:.60} {layout!r:.60}, which is neither NCHW nor NHWC"))
    if certificate["tier"] != "proved":
        notes.findings.append(Finding("", f"its tier is {certificate['tier']!r}, not 'proved'"))
    identity = digest(header, arrays)
    if certificate["program"] != identity:
        notes.findings.append(
            Finding("", f"is for another program: {certificate['program']!s:.12} is not {identity:.12}")
        )
    state = _State(notes, claims)
    _check_nodes(program, certificate, _models(certificate, registers, notes), state)
    unclaimed = sorted(set(claims) - state.compared)
    if unclaimed:
        notes.findings.append(Finding("", f"holds arrays that claim nothing: {unclaimed[:3]}"))
    return notes.verdict()


class _State:
    """Notes, the claims, and which of them have been compared."""

    def __init__(self, notes: Notes, claims: NamedArrays) -> None:
        self.notes = notes
        self.claims = claims
        self.compared: set[str] = set()
        self.under: dict[str, list[str]] = {}
        for key in claims:
            self.under.setdefault(key.rpartition("/")[0], []).append(key)

    def take(self, prefix: str) -> dict[str, NDArray[Any]]:
        """All claims ``prefix/NAME`` by name."""
        keys = self.under.get(prefix, [])
        self.compared.update(keys)
        return {key.rpartition("/")[2]: self.claims[key] for key in keys}


def _check_nodes(
    program: Program, certificate: Mapping[str, Any], models: Mapping[str, Register], state: _State
) -> None:
    """Derive every tensor's range and every sum in execution order; one layer's at a time are held."""
    ranges = {name: declared(program.tensors[name]) for name in program.inputs}
    schedules = _schedules_of(program, certificate, state.notes)
    tensors = [*program.inputs, *(node.output for node in program.nodes)]
    if certificate["tensors"] != tensors:
        state.notes.findings.append(Finding("", "does not list the tensors in the order they are written"))
    for node in program.nodes:
        inputs = [ranges[name] for name in node.inputs]
        specs, y = [program.tensors[name] for name in node.inputs], program.tensors[node.output]
        if node.kind not in SUMMING:
            ranges[node.output] = image(node, inputs, specs, y)
            continue
        modulo = modulo_of(node)
        layer = replace(summing_layer(node, inputs[0], specs[0], y), modulo=modulo)
        sums = derive(layer)
        state.notes.sums += len(sums.total)
        for quantity, output, low, high in leaves_s32(sums)[:8] if modulo is None else ():
            state.notes.findings.append(
                Finding(node.name, f"output {output}: {quantity} reaches [{low}, {high}], outside 32 bits")
            )
        channels = len(sums.total)
        total = Range(sums.total[:, 0], sums.total[:, 1])
        if modulo is None:
            ranges[node.output] = after_requantize(total, node, y, np.arange(channels), channels)
        else:
            ranges[node.output] = after_table(total, node, y)
            sums = replace(sums, folded_bias=folded_as_held(sums.folded_bias))
        if schedules:
            index, item = schedules.pop(0)
            _check_promise(node, item.get("modular"), state.notes)
            _check_node(index, item["schedules"], (layer, sums), models, state)
    if certificate["tensors"] == tensors:
        for index, (name, derived) in enumerate(ranges.items()):
            state.notes.tensors += 1
            _compare_range(name, derived, f"ranges/{index}", state)


def _check_promise(node: Node, stated: object, notes: Notes) -> None:
    """Sums that may leave their registers are named as such, and no others are."""
    derived = None if modulo_of(node) is None else claims_of(node)
    if stated == derived:
        notes.modular += derived is not None
        return
    promise = "exact" if derived is None else f"modulo 2^{derived['bits']}, by design"
    notes.findings.append(Finding(node.name, f"its sums count {promise}; the certificate states {stated!s:.120}"))


def _schedules_of(program: Program, certificate: Mapping[str, Any], notes: Notes) -> list[tuple[int, dict[str, Any]]]:
    """Index and entry of every summing node in order; none if the certificate lists other nodes."""
    items = certificate["nodes"]
    names = [node.name for node in program.nodes if node.kind in SUMMING]
    if not isinstance(items, list) or [item.get("node") for item in items if isinstance(item, dict)] != names:
        notes.findings.append(Finding("", f"does not list the {len(names)} summing nodes in order"))
        return []
    for item in items:
        if set(item) - {"modular"} != {"node", "schedules"}:
            raise FormatError(f"{item['node']}: a node of a certificate holds its name and its schedules")
        if not isinstance(item["schedules"], list):
            raise FormatError(f"{item['node']}: schedules is a list")
    return list(enumerate(items))


def _check_node(
    index: int,
    planned: list[Any],
    derived: tuple[SummingLayer, Sums],
    models: Mapping[str, Register],
    state: _State,
) -> None:
    """Compare the sums and check the schedules that the certificate states of one layer."""
    layer, sums = derived
    claimed = state.take(f"sums/{index}")
    for quantity in ("total", "raw", "raw_partial", "folded_bias"):
        _compare(layer.node, quantity, getattr(sums, quantity), claimed.pop(quantity, None), state.notes)
    if claimed:
        state.notes.findings.append(Finding(layer.node, f"holds sums that claim nothing: {sorted(claimed)[:3]}"))
    for place, plan in enumerate(planned):
        is_schedule = isinstance(plan, dict) and set(plan) - {"operand"} == {"register", "tile_n"}
        name, tile_n = (plan["register"], plan["tile_n"]) if is_schedule else (None, None)
        if not isinstance(name, str) or name not in models or type(tile_n) is not int or not 1 <= tile_n <= 4096:
            raise FormatError(f"{layer.node}: schedule {place} names no register and tile: {str(plan)[:60]}")
        multiplied = as_multiplied(layer, plan["operand"], state.notes) if "operand" in plan else layer
        stated, form = plan.get("operand", list(RAW)), list(FORMS.get(name, RAW))
        if name in FORMS and stated != form:
            state.notes.findings.append(
                Finding(layer.node, f"operands are stated as {stated}, {name} multiplies them as {form}")
            )
        check_schedule(multiplied, (name, models[name]), tile_n, state.take(f"schedules/{index}/{place}"), state.notes)


def _compare_range(name: str, derived: Range, prefix: str, state: _State) -> None:
    claimed = state.take(prefix)
    for end in ("lo", "hi"):
        end_values: NDArray[np.int64] = getattr(derived, end)
        _compare(name, f"range {end}", end_values, claimed.pop(end, None), state.notes)
    if claimed:
        state.notes.findings.append(Finding(name, f"holds ranges that claim nothing: {sorted(claimed)[:3]}"))


def _compare(
    node: str, quantity: str, derived: NDArray[np.integer], claimed: NDArray[Any] | None, notes: Notes
) -> None:
    if claimed is None or not np.issubdtype(claimed.dtype, np.integer) or claimed.shape != derived.shape:
        notes.findings.append(Finding(node, f"{quantity}: {derived.shape} integers expected"))
        return
    differ = claimed.astype(np.int64) != derived
    if differ.any():
        wrong = np.argwhere(differ)
        at = tuple(int(index) for index in wrong[0])
        notes.findings.append(
            Finding(
                node,
                f"{quantity} at {at} is stated {int(claimed[at])}, derived {int(derived[at])} ({len(wrong)} differ)",
            )
        )


def _models(
    certificate: Mapping[str, Any], registers: Mapping[str, Mapping[str, Any]] | None, notes: Notes
) -> dict[str, Register]:
    if not isinstance(certificate["registers"], dict):
        raise FormatError("a certificate's registers are models by name")
    models = {}
    for name, plain in certificate["registers"].items():
        claimed = register(plain, name)
        model, assumption = trusted(name, claimed, registers)
        if assumption is not None:
            notes.assumed.append(assumption)
        if model != claimed:
            notes.findings.append(Finding("", f"states {claimed}, the register is {model}", register=name))
        contradiction = contradicts(name, model)
        if contradiction is not None:
            notes.findings.append(Finding("", contradiction, register=name))
        models[name] = model
    return models
