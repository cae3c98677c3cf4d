"""The table of operators is the only list: whatever has rules of its own answers for each entry, or says why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final

import pytest

from oaq.calibration.other_cases import other_cases
from oaq.capture.graph import TWINS
from oaq.capture.neutral import RULES as NEUTRAL
from oaq.checker import onnx_rules, ranges
from oaq.errors import ProgramError, UnsupportedOp
from oaq.export.c_source.files import network_of
from oaq.export.onnx_qdq.operators import RULES as EXPORTED
from oaq.kernels.table import SUMMING as SUMMING_FAMILIES
from oaq.numerics.affine import Affine
from oaq.operators import OPERATORS, Products
from oaq.program.int_program import IntProgram
from oaq.ptq.execute import FORWARD
from oaq.qat.laws import IN_STEPS, MOVED
from oaq.report.build import kind
from oaq.robust.lower import lower
from oaq.runtime.step_fields import STEP_KINDS
from oaq.tune.rebuild import rebuilt
from tests.strategies import OPERATORS as DRAWN
from tests.strategies import Builder

ROOT = Path(__file__).parents[2]
ROOMS = {name: re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() for name in OPERATORS}
SUMMING = {name for name, rules in OPERATORS.items() if issubclass(rules.value, Products)}
SAMPLES = {name: rules.cases("float32_half_even") for name, rules in OPERATORS.items()}
FAMILIES = {
    name: {
        rules.family_of(case.op)
        for semantics in ("float32_half_even", "fixed_point")
        for case in rules.cases(semantics)
    }
    for name, rules in OPERATORS.items()
}


def native() -> set[str]:
    """Operators whose every family has a row, a step that reads its bytes, and fields that are written."""
    text = {name: (ROOT / "native" / name).read_text() for name in ("rows.inc", "steps/steps.inc")}
    steps = dict(re.findall(r"^STEP\((\d+), (\w+)\)$", text["steps/steps.inc"], re.MULTILINE))
    codes = {family: int(code) for code, family in steps.items()}
    rows = set(re.findall(r"^OTHER\(\w+, (\w+), \w+\)$", text["rows.inc"], re.MULTILINE))
    rows |= {
        macro.lower() for macro in re.findall(r"^(GEMM|DEPTHWISE|ADD)\(\w+_scalar", text["rows.inc"], re.MULTILINE)
    }
    complete = {family for family in rows if codes.get(family) == STEP_KINDS[family].code}
    return {name for name, families in FAMILIES.items() if families <= complete}


def captured() -> set[str]:
    """Operators that a float graph holds: by a class that has a rule, by their multipliers alone, or as they are."""
    twins = {value.__name__ for value in TWINS.values()}
    answered = {name for name in twins if name in SUMMING or name in NEUTRAL}
    for name in set(OPERATORS) - twins:
        numbers = {field.name for field in fields(OPERATORS[name].value)}
        if "requantize" not in numbers or (numbers == {"requantize"} and OPERATORS[name].ratios is not None):
            answered.add(name)
    return answered


def answering(walk: Callable[[IntProgram], object]) -> set[str]:
    """Operators for one of whose samples ``walk`` gives an answer; one input serves all that a value reads."""
    names = set[str]()
    for name, cases in SAMPLES.items():
        for case in cases:
            builder = Builder("case", "float32_half_even")
            x = builder.input(case.shapes[0], Affine(0.05, 90))
            try:
                builder.add(case.op, [x] * len(case.shapes), Affine(0.05, 90), name="node")
                walk(builder.finish())
            except (ProgramError, UnsupportedOp):  # such a sample needs inputs of two shapes, or is of another rank
                continue
            names.add(name)
    return names


def relation_or_refusal(program: IntProgram) -> None:
    """Lower a program of one node for robustness; an operator without a relation is refused by the node's name.

    Raises:
        UnsupportedOp: refused for another reason, such as the rank of a tensor.
    """
    try:
        lower([program])
    except UnsupportedOp as error:
        if not str(error).startswith("node: robustness knows no relation"):
            raise


def in_c_or_refusal(program: IntProgram) -> None:
    """Lay out a program of one node in C; an operator without a function there is refused by the node's name.

    Raises:
        UnsupportedOp: refused for another reason.
    """
    try:
        network_of(program, "net", "")
    except UnsupportedOp as error:
        if not str(error).startswith("node: C export knows no"):
            raise


WALKERS: Final[Mapping[str, tuple[str, Callable[[], set[str]]]]] = {
    "reference": ("operators/*.py law", lambda: {name for name, rules in OPERATORS.items() if callable(rules.law)}),
    "propagate": (
        "operators/*.py image, overflow/bounds.py for sums",
        lambda: {name for name, rules in OPERATORS.items() if rules.image is not None} | SUMMING,
    ),
    "checker of ranges": ("checker/ranges.py, sums.py for sums", lambda: {*ranges._RULES} | SUMMING),
    "checker of files": ("checker/onnx_rules.py", lambda: {*onnx_rules._RULES}),
    "native": ("native/rows.inc, native/steps/steps.inc, runtime/step_fields.py", native),
    "capture": ("capture/graph.py TWINS, capture/neutral.py", captured),
    "export": ("export/onnx_qdq/operators.py RULES", lambda: {*EXPORTED}),
    "C export": ("export/c_source/nodes.py RULES, or refused by the node's name", lambda: answering(in_c_or_refusal)),
    "ptq": ("ptq/execute.py FORWARD", lambda: {*FORWARD}),
    "qat": (
        "qat/laws.py IN_STEPS; those that move integers: MOVED, else ptq; sums: qat/layer.py",
        lambda: {*IN_STEPS} | {name for name, rules in OPERATORS.items() if rules.same_affine} | SUMMING,
    ),
    "report": ("report/build.py kind", lambda: {name for name, cases in SAMPLES.items() if kind(cases[0].op)}),
    "calibration": (
        "calibration/other_cases.py, cases.py for sums",
        lambda: {name for name in OPERATORS if any(map(other_cases, FAMILIES[name]))} | SUMMING,
    ),
    "robustness": ("robust/lower.py, or refused by the node's name", lambda: answering(relation_or_refusal)),
    "tuning": (
        "tune/rebuild.py",
        lambda: answering(lambda program: rebuilt(program, {program.inputs[0]: 85}, {}, {})),
    ),
    "random programs": ("tests/strategies.py", lambda: {*DRAWN} - {"Depthwise"}),
}
"""What answers for operators: where, and for which."""
UNANSWERED: Final[Mapping[str, Mapping[str, str]]] = {
    "calibration": {"Reshape": "it shares memory: nothing runs, so nothing takes time"},
    "tuning": {"Coarsen": "it counts levels in steps of its tensors, which are kept; others are refused by name"},
}
"""Why one does not answer for an operator."""


@pytest.mark.parametrize("walker", WALKERS)
def test_every_walker_answers_for_every_operator_or_says_why_not(walker: str) -> None:
    place, answers = WALKERS[walker]
    answered, reasons = answers(), UNANSWERED.get(walker, {})
    missing = set(OPERATORS) - answered - set(reasons)
    assert not missing, f"{walker} ({place}) has no rule for {sorted(missing)}: add one, or a reason to UNANSWERED"
    assert not answered - set(OPERATORS), f"{walker} ({place}) has rules for what is no operator"
    assert not answered & set(reasons), f"{walker} ({place}) answers for {sorted(answered & set(reasons))} after all"


def test_laws_of_their_own_are_kept_for_operators_that_move_integers() -> None:
    assert all(OPERATORS[name].same_affine for name in MOVED)
    assert not any(OPERATORS[name].same_affine or name in SUMMING for name in IN_STEPS)


def test_every_operator_has_a_room_and_every_rule_that_its_kind_needs() -> None:
    for name, rules in OPERATORS.items():
        room = ROOT / "src/oaq/operators" / f"{ROOMS[name]}.py"
        assert f"class {name}(" in room.read_text(), room
        assert rules.cases("float32_half_even") and rules.cases("fixed_point"), name
        assert (rules.image is None) == (rules.work is None) == (name in SUMMING), name
        requantizes = "requantize" in {field.name for field in fields(rules.value)}
        assert (rules.ratios is not None) == (requantizes and name not in SUMMING), name
        assert (FAMILIES[name] <= set(SUMMING_FAMILIES)) == (name in SUMMING), name


def test_files_that_name_an_operator_are_counted() -> None:
    files = [
        (path, path.read_text())
        for folder in ("src", "native", "tests")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".cc", ".h", ".inc")
    ]
    for name in OPERATORS:
        rooms = [path for path, text in files if re.search(rf"\b(Float)?{name}\b", text)]
        print(f"{name}: {len(rooms)} files")  # noqa: T201 (read with pytest -s)
