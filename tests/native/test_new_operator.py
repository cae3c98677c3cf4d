"""A throw-away pointwise operator, added by the steps of docs/how-to/add-an-operator.md to a copy of the tree, and run.

|x| of each value: the range of its results is not monotone in that of its inputs, it requantizes, and ONNX has it.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.native.throwaway import ROOT, build, command

STEPS = (ROOT / "native" / "steps" / "steps.inc").read_text(encoding="utf-8")
CODE = max(map(int, re.findall(r"^STEP\((\d+),", STEPS, re.MULTILINE))) + 1
"""The code of the new kind of step: the next free one."""
PAGE = ROOT / "docs" / "how-to" / "add-an-operator.md"
VALUE = '''"""Abs: the distance of each value from zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Requantize, Semantics
from oaq.operators.checks import check_count
from oaq.operators.operator import (
    ALWAYS, Arrays, Case, Op, Ranges, Rules, Specs, pointwise_work, ratio_per_input
)
from oaq.operators.tensor import Shape, TensorSpec


@dataclass(frozen=True, eq=False)
class Abs(Op):
    """acc = |x - zx|; y = requantize(acc, zy); one multiplier."""

    requantize: Requantize

    def __post_init__(self) -> None:
        check_count("Abs", self.requantize, 1)


def shape(_op: Abs, inputs: Sequence[Shape]) -> Shape:
    """The input's."""
    return inputs[0]


def law(op: Abs, inputs: Arrays, specs: Specs, y: TensorSpec) -> NDArray[np.int64]:
    """(batch, ...) one distance per integer."""
    distance = np.abs(inputs[0].astype(np.int64) - specs[0].affine.zero_point)
    return op.requantize.apply(distance, y.affine.zero_point, y.range)


def image(op: Abs, inputs: Ranges, specs: Specs, y: TensorSpec, _where: str) -> ChannelRanges:
    """From 0, where a channel can hold it, to the farther end."""
    x = inputs[0].less(specs[0].affine.zero_point)
    ends = np.abs(np.stack([x.lo, x.hi]))
    least = np.where((x.lo <= 0) & (x.hi >= 0), 0, ends.min(axis=0))
    return op.requantize.image(ChannelRanges(least, ends.max(axis=0)), y.affine.zero_point, y.range)


def cases(semantics: Semantics) -> tuple[Case, ...]:
    """Vectors, tokens, images."""
    op = Abs(Requantize.from_scales(np.array([0.75], np.float32), semantics))
    return tuple(Case(op, (x,)) for x in ((1,), (6, 3), (3, 4, 5)))


RULES = Rules(
    Abs,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="abs",
    work=lambda _op, _x, y: pointwise_work(y),
    cases=cases,
    float_defined=ALWAYS,
    ratios=ratio_per_input,
)
'''
STEP = """// Abs: |x - zx| of each value, requantized: one of 256 results, computed once. Nothing wraps or saturates.
#include <array>
#include <cstdlib>

#include "plan/read.h"
#include "steps/steps.h"

namespace oaq {
namespace {

class Abs : public Step {
 public:
  Abs(const Place& x, const Place& y, int zero_point, const Output& output) : x_(x), y_(y) {
    const Requant requant(output.multipliers, 1, output.zero_point, output.clamp);
    for (int value = 0; value < 256; ++value)
      results_[static_cast<std::size_t>(value)] = requant.apply(std::abs(value - zero_point), 0);
  }

  int chunks(int threads) const override { return chunks_of(0.5 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(static_cast<std::int64_t>(y_.bytes()), chunk, chunks);
    const std::uint8_t* x = arena + x_.offset;
    std::uint8_t* y = arena + y_.offset;
    for (std::int64_t i = share.begin; i < share.end; ++i) y[i] = results_[x[i]];
  }

 private:
  Place x_, y_;
  std::array<std::uint8_t, 256> results_;
};

}  // namespace

std::unique_ptr<Step> parse_abs(StepRecord& record) {
  const int zero_point = record.fields.i32();
  check_zero_point(zero_point);
  if (!same_shape(record.input(), record.y)) refuse("input and output differ in shape");
  return std::make_unique<Abs>(record.input(), record.y, zero_point, record.fields.output());
}

}  // namespace oaq
"""
CHECKER = """def _abs(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    centred = inputs[0].less(specs[0].zero)
    farthest = np.maximum(-centred.lo, centred.hi)
    nearest = np.maximum(np.maximum(centred.lo, -centred.hi), 0)
    return after_requantize(Range(nearest, farthest), node, y, 0, 1)


_RULES = {
    "Abs": _abs,
"""
FIELDS = '''        "abs": StepKind(
            CODE,
            (Field("x_zero_point"), *OUTPUT),
            lambda planned: (planned.x_zero_points[0], *_output(planned, _op(planned).requantize)),
        ),
    }
)
"""Kinds of steps'''.replace("CODE", str(CODE))
EXPORT = """def _abs(graph: Graph, node: Node, _op: Any) -> None:
    _requantized(graph, node, "Abs", [graph.dequantize(node.inputs[0])])


RULES: Final[Mapping[str, Callable[[Graph, Node, Any], None]]] = {
    "Abs": _abs,
"""
LAW = """def _abs(_node: FloatNode, inputs: Inputs, grids: Sequence[Grid], y: Grid) -> torch.Tensor:
    return inputs[0].abs() * (grids[0].scale / y.scale)


IN_STEPS: Final[Mapping[str, Callable[[FloatNode, Inputs, Sequence[Grid], Grid], torch.Tensor]]] = {
    "Abs": _abs,
"""
EDITS: dict[str, str | tuple[tuple[str, str], ...]] = {
    "src/oaq/operators/abs.py": VALUE,
    "src/oaq/operators/__init__.py": (
        ("from oaq.operators import (\n", "from oaq.operators import (\n    abs,\n"),
        (
            "from oaq.operators.add import Add\n",
            "from oaq.operators.abs import Abs\nfrom oaq.operators.add import Add\n",
        ),
        ('    "Add",\n', '    "Abs",\n    "Add",\n'),
        ("        slice.RULES,\n", "        slice.RULES,\n        abs.RULES,\n"),
    ),
    "src/oaq/checker/ranges.py": (("_RULES = {\n", CHECKER),),
    "native/steps/abs.cc": STEP,
    "native/steps/steps.inc": (("STEP(14, depth_to_space)\n", f"STEP(14, depth_to_space)\nSTEP({CODE}, abs)\n"),),
    "native/rows.inc": (("OTHER(lookup_u8_scalar,", "OTHER(abs_u8_scalar, abs, kScalar)\nOTHER(lookup_u8_scalar,"),),
    "src/oaq/runtime/step_fields.py": (('    }\n)\n"""Kinds of steps', FIELDS),),
    "docs/plan-format.md": (
        ("| 10 | copy | |\n", f"| 10 | copy | |\n| {CODE} | abs | i32 zero point of x, output |\n"),
    ),
    "src/oaq/export/onnx_qdq/operators.py": (
        ("RULES: Final[Mapping[str, Callable[[Graph, Node, Any], None]]] = {\n", EXPORT),
    ),
    "src/oaq/checker/onnx_rules.py": (
        ("_RULES = {\n", '_RULES = {\n    "Abs": _joining,\n'),
        ('FLOAT_DEFINED: Final = ("Add"', 'FLOAT_DEFINED: Final = ("Abs", "Add"'),
    ),
    "src/oaq/ptq/execute.py": (
        ('    "Add": lambda _op,', '    "Abs": _alone(lambda _op, x: x.abs()),\n    "Add": lambda _op,'),
    ),
    "src/oaq/qat/laws.py": (
        ("IN_STEPS: Final[Mapping[str, Callable[[FloatNode, Inputs, Sequence[Grid], Grid], torch.Tensor]]] = {\n", LAW),
    ),
}
"""Every file touched: its text, or what is replaced in it."""
START = """
import sys
from pathlib import Path

tree = Path.cwd()
sys.meta_path[:] = [finder for finder in sys.meta_path if not type(finder).__module__.startswith("_editable")]
sys.path[:0] = [str(tree / "src"), str(tree)]
from benchmarks.native_module import load_native

import oaq

assert Path(oaq.__file__).is_relative_to(tree), oaq.__file__
load_native(tree / "build", "Debug")
"""
TESTS = """
import pytest

sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "Abs or architecture", *sys.argv[1:]]))
"""
NETWORK = """
import numpy as np
import torch

import oaq
from oaq import operators as ops
from oaq.capture.graph import FloatGraph, FloatLinear, FloatNode, LayerParams, Unquantized
from oaq.kernels.plan import plan
from oaq.ptq.execute import float_outputs
from oaq.qat.prepare import prepare
from oaq.reference import run
from oaq.report.build import kind
from oaq.runtime import Session

rng = np.random.default_rng(0)
weight, bias = (rng.standard_normal(size).astype(np.float32) for size in ((6, 5), 6))
nodes = (
    FloatNode("layer", FloatLinear(weight, bias), ("x",), "h"),
    FloatNode("distance", Unquantized(ops.Abs), ("h",), "y"),
)
graph = FloatGraph("net", ("x",), ("y",), {"x": (5,), "h": (6,), "y": (6,)}, nodes)
x = rng.standard_normal((64, 5)).astype(np.float32)
program = oaq.quantize(graph, [torch.from_numpy(x)])
assert kind(program.by_name["distance"].op) == "Abs"
integers = program.tensors["x"].affine.quantize(x, program.tensors["x"].range)
expected = run(program, [integers]).outputs[0]
session = Session(plan(program))
np.testing.assert_array_equal(session.run_integers([integers])[0], expected)
real = program.tensors["y"].affine.dequantize(expected)
assert np.abs(real - float_outputs(graph, x)[0]).max() < 0.1
trained = prepare(graph, torch.from_numpy(x))
trained.eval()
with torch.no_grad():
    assert np.abs(trained(torch.from_numpy(x)).numpy() - float_outputs(graph, x)[0]).max() < 0.1
"""


def edit(tree: Path) -> None:
    for name, change in EDITS.items():
        path = tree / name
        if isinstance(change, str):
            assert not path.exists(), name
            path.write_text(change, encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        for before, after in change:
            assert text.count(before) == 1, f"{name}: {before!r} stands {text.count(before)} times"
            text = text.replace(before, after)
        path.write_text(text, encoding="utf-8")


def test_the_page_names_the_files_that_are_touched_and_no_others() -> None:
    steps = re.findall(r"^\d+\. \*\*`(.+?)`\*\*", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [step.replace("<name>", "abs") for step in steps] == list(EDITS)
    assert len(steps) <= 12


@pytest.mark.xdist_group("new row")
def test_an_operator_is_added_by_the_documented_steps_and_runs_everywhere(spare_tree: Path) -> None:
    left_out = shutil.ignore_patterns("__pycache__", "results", "*.so")
    for folder in ("src", "tests", "docs", "benchmarks"):
        shutil.copytree(ROOT / folder, spare_tree / folder, ignore=left_out, dirs_exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", spare_tree)
    edit(spare_tree)
    done = build(spare_tree)
    assert done.returncode == 0, done.stdout[-3000:]
    suites = ["tests/operators", "tests/architecture/test_operators.py", "tests/native/test_steps.py"]
    suites += ["tests/checker/test_onnx.py"]
    tests = command(sys.executable, "-c", START + TESTS, *suites, cwd=spare_tree)
    assert tests.returncode == 0, tests.stdout[-3000:] + tests.stderr[-1000:]
    assert " passed" in tests.stdout
    network = command(sys.executable, "-c", START + NETWORK, cwd=spare_tree)
    assert network.returncode == 0, network.stderr[-2000:]
