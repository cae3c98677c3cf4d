"""The npm package on photos, in Node and in headless Chromium: the reference's integers, and errors in words."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.web.build import ROOT, install
from benchmarks.web.node import run_script
from oaq.cli import main
from oaq.data.preprocess import Preprocess
from oaq.errors import FormatError
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.program.files import save
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.seal.parts import sealed_parts
from oaq.seal.signature import model_signature
from oaq.tasks.classify import classify
from oaq.tasks.record import task_metadata
from oaq.web import write
from tests.strategies import Builder, conv2d, linear
from tests.web.machine import require_chromium, require_engine

pytestmark = pytest.mark.xdist_group("web")

SIZE, PHOTOS = 16, 3
HERE = Path(__file__).parent


def classifier() -> IntProgram:
    """A small network of photos whose operands have 7 bits."""
    rng, seven = np.random.default_rng(5), IntRange(0, 127)
    builder = Builder("small")
    x = builder.input((SIZE, SIZE, 3), Affine(0.02, 60), seven)
    x = builder.add(
        conv2d(rng, (24, 3, 3, 3), padding=(1, 1, 1, 1), stride=(2, 2)), [x], Affine(0.05, 0), seven, name="stem"
    )
    x = builder.add(
        conv2d(rng, (24, 3, 3, 1), groups=24, padding=(1, 1, 1, 1)), [x], Affine(0.05, 0), seven, name="depthwise"
    )
    x = builder.add(conv2d(rng, (40, 1, 1, 24)), [x], Affine(0.05, 0), seven, name="project")
    builder.add(conv2d(rng, (10, 8, 8, 40)), [x], Affine(0.1, 128), name="head")
    photo = Preprocess((SIZE, SIZE), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    labels = tuple(f"class {index}" for index in range(10))
    return replace(builder.finish(), metadata=task_metadata(classify(photo, labels)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("web")
    write(classifier(), path, "net")
    return path


def photos() -> np.ndarray:
    """RGBA photos of the network's size, the extremes first."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (PHOTOS, SIZE, SIZE, 4), np.uint8)
    pixels[0, ..., :3], pixels[1, ..., :3] = 0, 255
    pixels[..., 3] = 255
    return pixels


def integers(program: IntProgram, pixels: np.ndarray) -> np.ndarray:
    """What ``oaq run`` makes of photos: the law of preprocessing and of quantization."""
    photo, spec = Preprocess.from_metadata(program.metadata), program.tensors[program.inputs[0]]
    assert photo is not None
    reals = pixels[..., :3].astype(np.float32) / np.float32(255)
    scaled = (reals - np.array(photo.mean, np.float32)) / np.array(photo.std, np.float32)
    return spec.affine.quantize(scaled, spec.range)


def decoded(text: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)


@pytest.mark.parametrize("where", ["node", "chromium"])
def test_photos_have_the_integers_of_the_reference_in_every_build(folder: Path, where: str, tmp_path: Path) -> None:
    require_engine()
    browser = [require_chromium("the package in Chromium")] if where == "chromium" else []
    install()
    program, pixels = classifier(), photos()
    (tmp_path / "photos").write_bytes(pixels.tobytes())
    arguments = [HERE / "run_package.mjs", folder, "net", tmp_path / "photos", where, *browser]
    results = json.loads(run_script(arguments))
    assert list(results) == ["relaxed", "simd128"]
    x = integers(program, pixels)
    (y,) = run(program, (x,)).outputs
    for result in results.values():
        np.testing.assert_array_equal(decoded(result["inputs"], x.shape), x)
        np.testing.assert_array_equal(decoded(result["outputs"], y.shape), y)
        assert result["signature"] == model_signature(program)
        assert result["best"] == y.reshape(PHOTOS, -1).argmax(1).tolist()
        assert result["layers"] == result["steps"] == 4
        assert result["labels"] == 10


ERRORS = """
import * as oaq from {library};
const tries = {tries};
for (const [name, url, options] of tries)
  try {{
    const net = await oaq.load(new URL(url, {base}), options);
    if (name === "small") net.run(new Uint8Array(5));
    if (name === "large") net.run({{ data: new Uint8Array(4), width: 1, height: 1 }});
    console.log(`${{name}}\tno error`);
  }} catch (error) {{
    console.log(`${{name}}\t${{error.code}}\t${{error.message}}`);
  }}
"""


def test_what_does_not_belong_together_is_refused_in_words(folder: Path, tmp_path: Path) -> None:
    require_engine()
    install()
    for name in ("cut", "other", "signed", "many", "old", "text"):
        shutil.copytree(folder, tmp_path / name)
    index = json.loads((folder / "net.json").read_text())
    plan = index["plans"]["simd128"]["file"]
    (tmp_path / "cut" / plan).write_bytes((folder / plan).read_bytes()[:-1])
    changed = bytearray((folder / plan).read_bytes())
    changed[-1] ^= 1
    digest = hashlib.sha256(changed).hexdigest()
    (tmp_path / "other" / plan).write_bytes(changed)
    plans = index["plans"] | {"simd128": index["plans"]["simd128"] | {"sha256": digest}}
    (tmp_path / "other" / "net.json").write_text(json.dumps(index | {"plans": plans}))
    signed = index | {"signature": {"sha256": "0" * 64, "samples": 2}}
    (tmp_path / "signed" / "net.json").write_text(json.dumps(signed))
    many = index | {"signature": index["signature"] | {"samples": 1025}}
    (tmp_path / "many" / "net.json").write_text(json.dumps(many))
    (tmp_path / "old" / "net.json").write_text(json.dumps(index | {"format": "oaq web 0"}))
    (tmp_path / "text" / "net.json").write_text("{")
    shutil.copytree(folder, tmp_path / "right")
    simd128 = {"build": "simd128"}
    tries = [
        ["right", "right/net.json", {"certificate": index["certificate"]}],
        ["none", "none/net.json", {}],
        ["cut", "cut/net.json", simd128],
        ["other", "other/net.json", simd128],
        ["signed", "signed/net.json", {}],
        ["many", "many/net.json", {}],
        ["unsigned", "signed/net.json", {"check": False}],
        ["old", "old/net.json", {}],
        ["text", "text/net.json", {}],
        ["certificate", "right/net.json", {"certificate": "1" * 64}],
        ["build", "right/net.json", {"build": "avx2"}],
        ["small", "right/net.json", {}],
        ["large", "right/net.json", {}],
    ]
    script = tmp_path / "errors.mjs"
    library, base = ((ROOT / "web" / "src" / "index.js").as_uri(), f"{tmp_path.as_uri()}/")
    script.write_text(ERRORS.format(library=json.dumps(library), base=json.dumps(base), tries=json.dumps(tries)))
    said = {line.split("\t")[0]: line.split("\t", 1)[1] for line in run_script([script]).splitlines()}
    assert said["right"] == said["unsigned"] == "no error"
    for name, words in {
        "none": "not-found\t",
        "cut": "damaged\tnet.simd128.plan: this is not the plan that",
        "other": "bad-plan\tthe checksum differs: the plan is damaged",
        "signed": "signature\tsmall: this engine computes the signature ",
        "many": "damaged\t",
        "old": "damaged\t",
        "text": "damaged\t",
        "certificate": "certificate\t",
        "build": "engine\tthis engine does not run the build avx2; it runs relaxed, simd128",
        "small": "bad-argument\tinput t0: 5 integers are given; 16 x 16 x 3 are 768",
        "large": "photo\tsmall: the photo has 1 x 1 pixels, the network wants 16 x 16",
    }.items():
        assert said[name].startswith(words), (name, said[name])


def test_export_for_pages_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = classifier()
    save(program, tmp_path / "net.oaq", sealed_parts(program))
    assert main(["export", str(tmp_path / "net.oaq"), "--web", str(tmp_path / "site")]) == 0
    assert f"signature:   {model_signature(program)}" in capsys.readouterr().out
    index = json.loads((tmp_path / "site" / "small.json").read_text())
    assert [layer["row"] for layer in index["plans"]["relaxed"]["layers"]][2].startswith("gemm_u7s8_relaxed")
    for plan in index["plans"].values():
        content = (tmp_path / "site" / plan["file"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (plan["bytes"], plan["sha256"])
        assert all(layer["bits"] is None or 0 < layer["used"] <= 1 for layer in plan["layers"])


def test_a_network_that_is_not_of_photos_has_no_tables(tmp_path: Path) -> None:
    builder = Builder("vector")
    builder.add(linear(np.random.default_rng(2), (3, 8)), [builder.input((8,))], Affine(0.1, 128))
    index = write(builder.finish(), tmp_path).index
    assert json.loads(index.read_text())["photo"] is None
    with pytest.raises(FormatError, match=r"'\.\./x' is not the name of a file; give another with --name"):
        write(builder.finish(), tmp_path, "../x")
    with pytest.raises(FormatError, match=r"cannot be made: embedded null byte\. Choose another folder"):
        write(builder.finish(), tmp_path / "a\0b")
