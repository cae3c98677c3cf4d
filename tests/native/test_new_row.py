"""A throw-away row, added by the steps of docs/how-to/add-a-kernel-row.md to a copy of the tree, built and forced."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.native.conftest import FOLDER, WANTED
from tests.native.throwaway import build, command

NAME = "gemm_u8s8_scalar_spare"
LINE = f"GEMM({NAME}, kScalar, kQuads, kRawU8, kSumsInOrder, 3, 8, 1, spare)"
FUNCTIONS = """
// A row of a test: tiles of 3 positions.
//   sums   s32   sum of x[k] * w[k]   **exact**: proved in s32
#include "gemm/gemm.h"

namespace oaq {
namespace {

template <int kRows>
void spare(GemmCall* call) {
  for (int row = 0; row < kRows; ++row)
    for (int n = 0; n < 8; ++n) {
      std::int32_t sum = call->bias[n];
      const std::int8_t* w = call->packed + 4 * n;
      for (std::int64_t i = 0; i < call->piece_count; ++i) {
        w += call->pieces[i].skipped;
        const std::uint8_t* x = call->x + row * call->stride + call->pieces[i].first;
        for (std::int32_t step = 0; step < call->pieces[i].steps; ++step, x += 4, w += 32)
          for (int k = 0; k < 4; ++k) sum += x[k] * w[k];
      }
      call->sums[row * 8 + n] = sum;
    }
}

}  // namespace
}  // namespace oaq

OAQ_DECLARE_GEMM(spare, 3, 1);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(spare, 3, 1)[] = {oaq::spare<1>, oaq::spare<2>, oaq::spare<3>};
"""


@pytest.fixture(scope="module")
def tree(spare_tree: Path) -> Path:
    """The copy with one more row."""
    rows = spare_tree / "native" / "rows.inc"
    rows.write_text(rows.read_text().replace("\nADD(add_u8_scalar", f"\n{LINE}\nADD(add_u8_scalar"))
    (spare_tree / "native" / "gemm" / "spare.cc").write_text(FUNCTIONS)
    return spare_tree


@pytest.mark.xdist_group("new row")
def test_a_row_is_added_by_its_line_and_its_functions_and_is_forced_like_any_other(tree: Path) -> None:
    done = build(tree)
    assert done.returncode == 0, done.stdout[-3000:]
    tests = ["tests/native/test_rows.py", "-k", f"{NAME} and not checker"]
    forced = command(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests,
        **{FOLDER: str(tree / "build"), WANTED: "Debug"},
    )  # fmt: skip
    assert forced.returncode == 0, forced.stdout[-3000:] + forced.stderr[-1000:]
    assert "passed" in forced.stdout


@pytest.mark.xdist_group("new row")
def test_a_table_of_functions_of_another_size_is_not_linked(tree: Path) -> None:
    rows = tree / "native" / "rows.inc"
    text = rows.read_text()
    rows.write_text(text.replace(LINE, LINE.replace("3, 8, 1", "4, 8, 1")))
    done = build(tree)
    rows.write_text(text)
    assert done.returncode != 0
    assert "oaq_gemm_spare_shapes_4x1" in done.stdout


@pytest.mark.xdist_group("new row")
def test_a_member_that_moves_away_from_where_generated_loops_look_is_not_compiled(tree: Path, tmp_path: Path) -> None:
    header = tree / "native" / "gemm" / "gemm.h"
    text = header.read_text()
    moved = text.replace("  std::int32_t zero;\n  std::int32_t lo;\n", "  std::int32_t lo;\n  std::int32_t zero;\n")
    assert moved != text
    loops, checks = tmp_path / "gemm_x86.S", tmp_path / "gemm_checks.inc"
    generated = command(sys.executable, "-m", "gemm.x86.generate", loops, checks, PYTHONPATH=str(tree / "native"))
    assert generated.returncode == 0, generated.stderr
    compiler = os.environ.get("CXX", "c++")
    flags = ("-std=c++20", "-fsyntax-only", "-DOAQ_X86", "-I", tree / "native", "-I", tmp_path)
    compile_kernels = (compiler, *flags, tree / "native" / "gemm" / "kernels.cc")
    assert command(*compile_kernels).returncode == 0
    header.write_text(moved)
    done = command(*compile_kernels)
    header.write_text(text)
    assert done.returncode != 0
    assert "the generator of loops has GemmCall::zero" in done.stderr
