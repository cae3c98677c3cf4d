"""The demo page: networks for pages, the same for onnxruntime-web, photos; served on this machine.

    python -m benchmarks.web.demo [--out out/web-demo] [--port 8000] [--no-serve]
    make web-demo

Quantizes EfficientNet-Lite0, MobileNetV2 and SSD-MobileNetV2 for relaxed SIMD, writes what the npm package loads, the
doctor with its Python, and a folder that any server can serve. Where npm has installed onnxruntime-web (``npm install``
in ``web/``), the page runs the same networks with it, int8 and fp32. Needs torch and the C++ compiler of the ziglang
wheel; everything stays on this machine.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.web.build import PACKAGE, install
from benchmarks.web.networks import PAGE_NETWORKS, PageNetwork, busiest, onnx_of, program_of
from benchmarks.web.python import write_python
from oaq.program.files import read
from oaq.tasks.record import from_metadata
from oaq.terminal import say
from oaq.web import write
from recipes.data import photos

SAMPLES = 8
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""Files of onnxruntime-web that its CPU kernels need."""


def network_record(network: PageNetwork, out: Path, folder: Path, *, has_peer: bool) -> dict[str, Any]:
    """A network in the page's folder, and what the page has to know of it."""
    archive = read(program_of(network, out))
    index = write(archive.program, folder, network.name, archive.parts).index
    task = from_metadata(archive.program.metadata)
    peers = []
    if has_peer and task is not None:
        (folder / network.name).mkdir(exist_ok=True)
        preprocess = {"mean": list(task.preprocess.mean), "std": list(task.preprocess.std)}
        for precision, file in sorted(onnx_of(network, out).items(), reverse=True):
            shutil.copyfile(file, folder / network.name / file.name)
            peers.append({"precision": precision, "file": f"nets/{network.name}/{file.name}", **preprocess})
    return {"title": network.title, "file": f"nets/{index.name}", "peers": peers}


def models_of(network: PageNetwork, out: Path, folder: Path) -> list[dict[str, str]]:
    """A network to try the doctor on, in ``folder``: as ONNX Runtime quantizes it, and as oaq does."""
    folder.mkdir(parents=True, exist_ok=True)
    models = {
        f"{network.title}, int8 by ONNX Runtime": (onnx_of(network, out)["int8"], f"{network.name}.int8.onnx"),
        f"{network.title}, by oaq": (program_of(network, out), f"{network.name}.oaq"),
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
    networks = [network_record(network, out, site / "demo" / "nets", has_peer=has_peer) for network in PAGE_NETWORKS]
    detectors = [network for network in PAGE_NETWORKS if network.is_detector]
    chosen = [photo.path for photo in photos.labelled()[:SAMPLES]]
    seen_by = {network.name: busiest(program_of(network, out), photos.comparison()) for network in detectors}
    chosen += [path for path in seen_by.values() if path not in chosen]
    (site / "demo" / "photos").mkdir(exist_ok=True)
    for path in chosen:
        shutil.copyfile(path, site / "demo" / "photos" / path.name)
    for record, network in zip(networks, PAGE_NETWORKS, strict=True):
        record["sample"] = chosen.index(seen_by.get(network.name, chosen[0]))
    write_python(site / "demo" / "python")
    page = {
        "networks": networks,
        "samples": [f"photos/{path.name}" for path in chosen],
        "models": models_of(PAGE_NETWORKS[0], out, site / "demo" / "models"),
    }
    (site / "demo" / "demo.json").write_text(json.dumps(page), encoding="utf-8")


class Isolated(http.server.SimpleHTTPRequestHandler):
    """Files with the headers by which a page may share memory between its workers."""

    def end_headers(self) -> None:
        """Add them."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


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
    handler = functools.partial(Isolated, directory=str(flags.out / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", flags.port), handler) as server:
        say.words(f"http://127.0.0.1:{server.server_address[1]}/demo/ (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say.words("")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
