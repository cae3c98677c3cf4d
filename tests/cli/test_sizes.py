"""Sizes that a file leaves open: asked for by name, taken from a sample, or sensible; never a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from oaq.cli.sizes import LENGTH, ROWS, sizes_of
from oaq.errors import ConfigError
from oaq.mixed.program import Port
from tests import dynamic_files
from tests.mixed.nets import Net

IMAGE = Port("image", "float32", ("batch", 3, "height", None))
TEXT = Port("ids", "int64", ("batch", "length"))


def test_sizes_are_requested_by_their_name_or_by_the_input() -> None:
    assert sizes_of([TEXT], ["length=7", "batch=2"]) == {"ids": (2, 7)}
    assert sizes_of([IMAGE], ["image=1x3x64x32"]) == {"image": (1, 3, 64, 32)}


def test_sizes_that_are_not_requested_are_sensible_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert sizes_of([IMAGE, TEXT], batch=4) == {"image": (4, 3, ROWS, ROWS), "ids": (4, LENGTH)}
    assert f"taken: height = {ROWS}, axis 3 of image = {ROWS}, length = {LENGTH}" in capsys.readouterr().err


def test_a_sample_goes_before_what_is_sensible() -> None:
    assert sizes_of([TEXT], sample={"ids": (3, 5)}) == {"ids": (3, 5)}


@pytest.mark.parametrize("text", ["length", "length=", "length=0", "length=-3", "length=ten", "depth=3", "image=1x3x5"])
def test_requests_that_name_nothing_open_are_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--shape {text}"):
        sizes_of([IMAGE, TEXT], [text])


def open_images(path: Path, *, whole: bool = False) -> Path:
    """A convolution of images of any size; ``whole``: integers from end to end."""
    net = Net()
    y = net.conv(net.qdq(net.input([1, 4, "h", "w"]), 0.02))
    net.output(net.qdq(y, 0.1) if whole else net.op("Softmax", y, axis=1))
    return net.save(path)


def open_integers(path: Path) -> Path:
    return open_images(path, whole=True)


def dynamic_tokens(path: Path) -> Path:
    rng = np.random.default_rng(0)
    weight = rng.integers(-64, 64, (8, 4)).astype(np.int8)
    path.write_bytes(dynamic_files.matmul_integer(weight, np.float32(0.01)))
    return path


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("make", [dynamic_tokens, open_images, open_integers])
def test_every_verb_takes_a_file_of_open_sizes(oaq, tmp_path: Path, make) -> None:
    pytest.importorskip("onnxruntime")
    path = make(tmp_path / "net.onnx")
    code, out, _ = oaq("verify", path, "--quick")
    assert (code, "proved for 1 of 1 layers" in out) == (0, True)
    shape = ("--shape", "h=9", "--shape", "w=7") if make is not dynamic_tokens else ()
    code, out, err = oaq("verify", path, *shape, "--no-onnx")
    assert code == 0 and re.search(r" 0 of \d+ integers differ", out), out + err
    code, out, _ = oaq("bench", path, "--rounds", 1, "--isa", "scalar", *shape)
    assert (code, "equal to the reference" in out) == (0, True)
    code, out, _ = oaq("report", path, *shape)
    assert (code, "1 of 1" in out) == (0, True)
