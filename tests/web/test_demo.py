"""The demo page in headless Chromium: a photo, its classes or objects, times, what is proved; at two widths."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.web.build import PACKAGE, install
from benchmarks.web.node import run_script
from oaq.reference import run
from oaq.web import write
from tests.foreign.detector import detector
from tests.web.machine import require_chromium, require_engine
from tests.web.test_package import SIZE, classifier, integers, photos

pytestmark = pytest.mark.xdist_group("web")


def likeliest(photo: int) -> list[str]:
    """The five likeliest classes of a photo by the reference; the first of equals comes first."""
    program = classifier()
    (y,) = run(program, (integers(program, photos()[photo : photo + 1]),)).outputs
    return [f"class {index}" for index in np.argsort(-y.reshape(-1).astype(int), kind="stable")[:5]]


def test_the_page_classifies_measures_and_fits_phone_and_desktop(tmp_path: Path) -> None:
    require_engine()
    chromium = require_chromium("the demo page")
    install()
    for name in ("src", "wasm", "demo"):
        shutil.copytree(PACKAGE / name, tmp_path / name)
    write(classifier(), tmp_path / "demo", "net")
    for index, pixels in enumerate(photos()):
        Image.fromarray(pixels).save(tmp_path / "demo" / f"{index}.png")
    write(detector(), tmp_path / "demo", "detector")
    networks = [
        {"title": "Small", "file": "net.json", "peers": [], "sample": 0},
        {"title": "A detector", "file": "detector.json", "peers": [], "sample": 1},
    ]
    (tmp_path / "demo" / "demo.json").write_text(json.dumps({"networks": networks, "samples": ["0.png", "1.png"]}))
    arguments = [Path(__file__).with_name("run_demo.mjs"), tmp_path, chromium, tmp_path / "demo" / "2.png"]
    shown = json.loads(run_script(arguments))
    assert shown["said"] == []
    assert shown["status"] == ""
    assert all(scrolled <= int(width) for width, scrolled in shown["widths"].items())
    threads = [f", {min(shown['cpus'], 4)} threads"] if shown["cpus"] > 1 else []
    builds = ("oaq, relaxed SIMD", "oaq, SIMD128")
    assert shown["times"] == [f"{build}{more}" for build in builds for more in ("", *threads)]
    assert [shown["before"], shown["classes"]] == [likeliest(0), likeliest(2)]
    assert shown["layers"] == 4
    assert shown["seal"].startswith("4 of 4 layers proved for every photo")
    assert shown["foreign"] == []
    assert shown["drawn"] and shown["size"] == [SIZE, SIZE]
    assert shown["objects"] and set(shown["objects"]) <= {"a", "b", "c", "d"}
    assert shown["tabs"] == [["true", "false"], ["false", "true"]]


LABELS = """
import {{ placeOf }} from {library};
const boxes = {boxes}, taken = [];
for (const box of boxes) {{
  const [x, y] = placeOf(box, [30, 10], [100, 100], taken);
  taken.push([x, y, x + 30, y + 10]);
}}
console.log(JSON.stringify(taken));
"""


def test_labels_of_boxes_hide_no_other_label(tmp_path: Path) -> None:
    require_engine()
    boxes = [[5, 5, 60, 60], [5, 5, 60, 60], [8, 8, 55, 90], [90, 90, 100, 100], [0, 0, 100, 100], [5, 5, 60, 60]]
    script = tmp_path / "labels.mjs"
    library = (PACKAGE / "demo" / "boxes.js").as_uri()
    script.write_text(LABELS.format(library=json.dumps(library), boxes=json.dumps(boxes)))
    places = json.loads(run_script([script]))
    assert all(min(place) >= 0 and max(place) <= 100 for place in places)
    for index, (left, top, right, bottom) in enumerate(places):
        for other_left, other_top, other_right, other_bottom in places[:index]:
            beside = left >= other_right or other_left >= right
            assert beside or top >= other_bottom or other_top >= bottom, (places, index)
