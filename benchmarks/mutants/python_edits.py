"""Every edit of a Python file: comparisons, constants by one, signs, extremes, conditions, branches, calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from benchmarks.mutants.edit import Edit, edit

COMPARISONS: Final = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
}
SIGNS: Final = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<")}
EXTREMES: Final = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any"}


def python_edits(path: str, content: bytes) -> Iterator[Edit]:
    """Every edit. Annotations, docstrings, messages of errors and what defines ``__all__`` stay as they are."""
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def span(node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    def operator_edits(first: ast.expr, second: ast.expr, texts: tuple[str, str], kind: str) -> Iterator[Edit]:
        begin, end = span(first)[1], span(second)[0]
        at = content.find(texts[0].encode(), begin, end)
        if at >= 0:
            yield edit(path, kind, content, (at, at + len(texts[0])), texts[1])

    for node in _code(ast.parse(content)):
        match node:
            case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
                yield from operator_edits(node.left, node.comparators[0], COMPARISONS[type(operator)], "comparison")
            case ast.BinOp() if type(node.op) in SIGNS:
                yield from operator_edits(node.left, node.right, SIGNS[type(node.op)], "sign")
            case ast.BoolOp():
                texts = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                yield from operator_edits(node.values[0], node.values[1], texts, "condition")
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                yield edit(path, "boundary", content, span(node), str(value + 1))
            case ast.UnaryOp(op=ast.USub() | ast.Not()):
                yield edit(path, "sign", content, (span(node)[0], span(node.operand)[0]), "")
            case ast.Name() | ast.Attribute():
                name = node.id if isinstance(node, ast.Name) else node.attr
                if name in EXTREMES and isinstance(node.ctx, ast.Load):
                    end = span(node)[1]
                    yield edit(path, "extreme", content, (end - len(name), end), EXTREMES[name])
            case ast.If():
                yield edit(path, "branch", content, span(node.test), "False")
            case ast.IfExp():
                yield edit(path, "branch", content, span(node.test), "False")
            case ast.Expr(value=ast.Call()):
                yield edit(path, "call", content, span(node), "None")


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but those whose change no integer could show; an operator's sample cases are such."""
    if isinstance(node, ast.FunctionDef) and node.name == "cases":
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(
                child, ast.Raise | ast.JoinedStr | ast.AnnAssign | ast.Assert
            ):
                yield from _code(child)
