"""Boxes of a detector in oaq-web: those of oaq.tasks.detect on the reference's integers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.web.build import ROOT, install
from benchmarks.web.node import run_script
from oaq.data.preprocess import Preprocess
from oaq.data.window import window_of
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.program.edges import Edge, output_edges, with_edges
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.runtime.values import caller_reals
from oaq.tasks.detect import Detector, Grid, Head, Part, detect, on_photo
from oaq.tasks.record import from_metadata, task_metadata
from oaq.web import write
from tests.strategies import Builder, conv2d
from tests.web.machine import require_engine

pytestmark = pytest.mark.xdist_group("web")

PICTURES = ((100, 60), (1, 4000))
"""Widths and heights of pictures that were scaled to the input."""
SCRIPT = """
import * as oaq from {library};
const net = await oaq.load(new URL("net.json", {base}), {{ build: "simd128" }});
const x = Uint8Array.from({x});
const pixels = {pictures}.map(([width, height]) => net.detect(x, {{ width, height }}));
console.log(JSON.stringify({{ shares: net.detect(x, undefined, 0), pixels, task: net.task }}));
"""


def program(heads: tuple[int, ...], decoder: Detector, fit: str) -> IntProgram:
    """A network of 16 x 16 photos with outputs of so many channels at 4 x 4 places, and its task."""
    rng, seven = np.random.default_rng(7), IntRange(0, 127)
    builder = Builder("detector")
    x = builder.input((16, 16, 3), Affine(0.02, 60), seven)
    x = builder.add(conv2d(rng, (8, 4, 4, 3), stride=(4, 4)), [x], Affine(0.05, 0), seven, name="stem")
    for index, channels in enumerate(heads):
        builder.add(conv2d(rng, (channels, 1, 1, 8)), [x], Affine(0.06, 128), name=f"head{index}")
    made = builder.finish()
    outputs = tuple(node.output for node in made.nodes[1:])
    labels = ("nothing", "dog", "cat")
    metadata = task_metadata(detect(Preprocess((16, 16), fit=fit), labels, decoder))
    return replace(made, outputs=outputs, metadata=metadata)


def flattened(made: IntProgram, names: tuple[str, ...], channels: int) -> IntProgram:
    """Outputs as (anchors, numbers), which files of other tools have."""
    edges = [
        Edge(name, tensor, "float32", (16, spec.shape[2] // channels, channels), ((0, 1), (2,)))
        for name, tensor, spec in ((n, t, made.tensors[t]) for n, t in zip(names, made.outputs, strict=True))
    ]
    return with_edges(made, [Edge("x", made.inputs[0], "float32", (16, 16, 3), ((0,), (1,), (2,)))], edges)


def ssd() -> IntProgram:
    """Boxes and scores of two anchors at each place, channels first."""
    grid = (Grid(4, 4, ((0.5, 0.25), (0.2, 0.3))),)
    made = program((8, 6), Detector((Head(Part("t2"), Part("t3"), grid),), score=0.4, visible=0.6), "stretch")
    return replace(made, metadata={**made.metadata, "input_layout": "NCHW"})


def points() -> IntProgram:
    """Distances as means of bins and scores in one output, (anchors, numbers), without a background."""
    part = Part("y", 0, 8, channels_last=True), Part("y", 8, channels_last=True)
    decoder = Detector((Head(*part, (Grid(4, 4),)),), "distances", bins=2, background=-1, score=0.3, overlap=0.4)
    return flattened(program((11,), decoder, "pad"), ("y",), 11)


def softmaxed() -> IntProgram:
    """Scores by softmax, distances as they are, the outputs' second half read."""
    part = Part("t2", 3, 7), Part("t2", 0, 3)
    decoder = Detector(
        (Head(*part, (Grid(4, 4),)),), "distances", activation="softmax", background=0, score=0.0, overlap=1.0, most=30
    )
    return replace((made := program((7,), decoder, "crop")), metadata={**made.metadata, "input_layout": "NCHW"})


@pytest.mark.parametrize("make", [ssd, points, softmaxed])
def test_boxes_are_those_of_the_task_of_the_file(make: object, tmp_path: Path) -> None:
    require_engine()
    install()
    made = make()  # type: ignore[operator]
    write(made, tmp_path, "net")
    x = np.random.default_rng(2).integers(0, 128, (1, 16, 16, 3), np.uint8)
    script = tmp_path / "detect.mjs"
    library, base = (ROOT / "web" / "src" / "index.js").as_uri(), f"{tmp_path.as_uri()}/"
    values = {"x": x.reshape(-1).tolist(), "pictures": json.dumps(PICTURES)}
    script.write_text(SCRIPT.format(library=json.dumps(library), base=json.dumps(base), **values))
    said = json.loads(run_script([script]))
    assert said["task"] == "detect"
    task = from_metadata(made.metadata)
    assert task is not None
    reals = dict(zip(made.outputs, run(made, (x,)).outputs, strict=True))
    outputs = {edge.name: caller_reals(made, edge.tensor, reals[edge.tensor])[0] for edge in output_edges(made)}
    expected = task.decode(outputs)
    assert len(expected) > 3
    assert [one["index"] for one in said["shares"]] == expected.classes.tolist()
    np.testing.assert_allclose([one["score"] for one in said["shares"]], expected.scores, rtol=1e-12)
    np.testing.assert_allclose([one["box"] for one in said["shares"]], expected.boxes, rtol=0, atol=1e-12)
    visible = expected.above(task.decoder.visible)
    for (width, height), objects in zip(PICTURES, said["pixels"], strict=True):
        pixels = on_photo(visible, window_of(task.preprocess, width, height), (height, width))
        assert [one["label"] for one in objects] == [task.labels[index] for index in visible.classes]
        np.testing.assert_allclose([one["box"] for one in objects], pixels, rtol=0, atol=1e-9)


DAMAGES: dict[str, tuple[list[str | int], object, str]] = {
    "no heads": (["decoder", "heads"], [], "incomplete"),
    "no grids": (["decoder", "heads", 0, "grids"], [], "incomplete"),
    "no rows": (["decoder", "heads", 0, "grids", 0, "rows"], 0, "incomplete"),
    "half a row": (["decoder", "heads", 0, "grids", 0, "rows"], 0.5, "incomplete"),
    "no anchors": (["decoder", "heads", 0, "grids", 0, "sizes"], [], "incomplete"),
    "more cells than numbers": (["decoder", "heads", 0, "grids", 0, "rows"], 10**9, "anchors do not share"),
    "no scores": (["decoder", "heads", 0, "scores"], None, "incomplete"),
    "another width": (["decoder", "bins"], 3, "holds 4 numbers per box, not 12"),
    "no such name": (["decoder", "heads", 0, "boxes", "output"], "z", "the network has no output z"),
    "no such output": (["edges", 0, "output"], 5, "t2 holds 0 numbers, not 4 x 4 x 8"),
    "other sizes": (["edges", 0, "sizes", 0], 2, "t2 holds 128 numbers, not 2 x 4 x 8"),
    "an axis twice": (["edges", 0, "axes", 0, 0], 0, "incomplete"),
    "no edges": (["edges"], [], "incomplete"),
}
TRIES = """
import * as oaq from {library};
const said = {{}};
for (const name of {names})
  try {{
    (await oaq.load(new URL(`${{name}}.json`, {base}), {{ build: "simd128" }})).detect(new Uint8Array(16 * 16 * 3));
    said[name] = "no error";
  }} catch (error) {{
    said[name] = `${{error.code}}: ${{error.message}}`;
  }}
console.log(JSON.stringify(said));
"""


def test_what_a_file_says_of_boxes_is_refused_where_it_does_not_fit(tmp_path: Path) -> None:
    require_engine()
    install()
    text = write(ssd(), tmp_path, "net").index.read_text()
    for name, (path, value, _) in DAMAGES.items():
        index = place = json.loads(text)
        for key in ("detect", *path[:-1]):
            place = place[key]
        place[path[-1]] = value
        (tmp_path / f"{name}.json").write_text(json.dumps(index))
    script = tmp_path / "tries.mjs"
    library, base = (ROOT / "web" / "src" / "index.js").as_uri(), f"{tmp_path.as_uri()}/"
    names = json.dumps(["net", *DAMAGES])
    script.write_text(TRIES.format(library=json.dumps(library), base=json.dumps(base), names=names))
    said = json.loads(run_script([script]))
    assert said.pop("net") == "no error"
    for name, (_, _, words) in DAMAGES.items():
        assert said[name].startswith("damaged: ") and words in said[name], (name, said[name])
