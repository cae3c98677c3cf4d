"""Drawn ONNX graphs: a few of a fresh seed agree with ONNX Runtime, and a changed law is noticed."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Any

import numpy as np
import pytest

from benchmarks.differential_onnx import judge as judging
from benchmarks.differential_onnx.campaign import smallest
from benchmarks.differential_onnx.graphs import FLOAT_OPSETS, OPERATORS, OPSETS, build, draw
from benchmarks.differential_onnx.judge import judge
from oaq import operators as ops
from oaq.terminal import say

GRAPHS = 60


def test_graphs_of_a_fresh_seed_agree_with_onnxruntime_or_are_refused_by_name() -> None:
    seed = secrets.randbelow(1 << 31)
    say.words(f"seed {seed}; again: python -m benchmarks.differential_onnx --seed {seed} --only GRAPH")
    kinds = Counter[str]()
    for index in range(GRAPHS):
        recipe = draw(seed, index)
        verdict = judge(build(recipe), recipe.form, index)
        assert not verdict.is_defect, f"seed {seed}, graph {index}, {recipe}: {verdict.kind}: {verdict.detail}"
        kinds[verdict.kind] += 1
    assert kinds["agrees"] > GRAPHS // 4
    assert kinds["rejected"] < GRAPHS // 10


def test_every_operator_and_every_opset_is_drawn() -> None:
    recipes = [draw(0, index) for index in range(2500)]
    assert {recipe.opset for recipe in recipes if recipe.form == "quantized"} == set(OPSETS)
    assert {recipe.opset for recipe in recipes if recipe.form == "float"} == set(FLOAT_OPSETS)
    assert {name for recipe in recipes for name, _ in recipe.steps} == set(OPERATORS)
    assert {recipe.form for recipe in recipes} == {"quantized", "float"}


def test_a_graph_is_a_function_of_seed_and_number() -> None:
    for index in range(20):
        assert build(draw(3, index)).SerializeToString() == build(draw(3, index)).SerializeToString()


def test_a_changed_law_is_noticed_and_its_graph_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    law = judging.compute

    def changed(node: Any, *rest: Any) -> Any:
        result, known = law(node, *rest)
        if isinstance(node.op, ops.Lookup | ops.AvgPool | ops.Add):
            result = np.array(result)
            result.reshape(-1)[0] ^= 2
        return result, known

    monkeypatch.setattr(judging, "compute", changed)
    for index in range(200):
        recipe = draw(11, index)
        verdict = judge(build(recipe), recipe.form, index)
        if verdict.kind == "differs":
            break
    else:
        raise AssertionError("200 graphs agree with a law that is wrong")
    assert len(smallest(recipe, index, "differs").steps) <= len(recipe.steps)
