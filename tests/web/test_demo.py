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
