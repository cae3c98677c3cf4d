"""Networks of several threads, in Node and in headless Chromium: the reference's integers, whoever computes what."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.web.build import ROOT, install
from benchmarks.web.node import run_script
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.seal.signature import model_signature
from oaq.web import write
from tests.strategies import Builder, conv2d
from tests.web.machine import require_chromium, require_engine

pytestmark = pytest.mark.xdist_group("web")

HERE = Path(__file__).parent


def network() -> IntProgram:
    """Steps that are long enough to be shared, of several families, and two that may run side by side."""
    rng, seven = np.random.default_rng(7), IntRange(0, 127)
    builder = Builder("wide")
    x = builder.input((40, 40, 16), Affine(0.02, 60), seven)
    x = builder.add(conv2d(rng, (48, 3, 3, 16), padding=(1, 1, 1, 1)), [x], Affine(0.05, 0), seven, name="first")
    left = builder.add(conv2d(rng, (64, 1, 1, 48)), [x], Affine(0.05, 0), seven, name="left")
    x = builder.add(
        conv2d(rng, (48, 5, 5, 1), groups=48, padding=(2, 2, 2, 2)), [x], Affine(0.05, 0), seven, name="deep"
    )
    builder.add(conv2d(rng, (64, 1, 1, 48)), [x], Affine(0.05, 0), seven, name="right")
    builder.add(conv2d(rng, (33, 1, 1, 64)), [left], Affine(0.1, 128), name="head")
    return builder.finish()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("threads")
    write(network(), path, "net")
    return path


def answers(folder: Path, where: str, x: np.ndarray) -> dict[str, Any]:
    require_engine()
    browser = [require_chromium("threads in Chromium")] if where == "chromium" else []
    install()
    (folder / "input").write_bytes(x.tobytes())
    arguments = [HERE / "run_threads.mjs", folder, "net", folder / "input", where, *browser]
    return json.loads(run_script(arguments))


@pytest.mark.parametrize("where", ["node", "chromium"])
def test_every_number_of_threads_computes_the_integers_of_the_reference(folder: Path, where: str) -> None:
    program = network()
    x = np.random.default_rng(1).integers(0, 128, program.tensors[program.inputs[0]].shape).astype(np.uint8)
    expected = base64.b64encode(run(program, x[None]).outputs[0].tobytes()).decode()
    answer = answers(folder, where, x)
    assert [(each["build"], each["threads"]) for each in answer["results"]] == [
        (build, threads) for build in ("relaxed", "simd128") for threads in (1, 2, 3)
    ]
    for each in answer["results"]:
        assert each["outputs"] == [expected], (each["build"], each["threads"])
        assert each["signature"] == model_signature(program)
        assert each["closed"] == "failed: the network has failed before: it was closed"
        assert len(each["shares"]) == each["threads"]
        assert all(each["shares"]) == (each["threads"] > 1), each
    assert answer["said"] == {
        asked: f"bad-argument: threads is a whole number from 1 to 256, not {asked}"
        for asked in ("0", "1.5", "257", "2")
    }
    if where == "node":
        assert answer["byDefault"] == 1
        return
    assert answer["byDefault"] == min(answer["cpus"], 4)
    assert answer["alone"] == [1, 1]
    plain = answer["open"]
    assert (plain["byDefault"], plain["ran"]) == (1, True)
    assert plain["asked"].startswith(
        "engine: 2 threads need shared memory, which this page does not have: serve it with"
    )


FORGOTTEN = """
import {{ load }} from {library};
let ended = 0;
process.on("worker", (worker) => worker.on("exit", () => ++ended));
async function use(closes) {{
  const net = await load(new URL({url}), {{ build: "simd128", threads: 3 }});
  if (closes) net.close();
}}
await use(true);
await use(false);
for (let turn = 0; turn < 200 && ended < 4; ++turn) {{
  globalThis.gc();
  await new Promise((resolve) => setTimeout(resolve, 50));
}}
console.log(ended);
"""


def test_workers_end_with_a_network_that_is_closed_or_forgotten(folder: Path, tmp_path: Path) -> None:
    require_engine()
    install()
    library, url = (ROOT / "web" / "src" / "index.js").as_uri(), (folder / "net.json").as_uri()
    script = tmp_path / "forgotten.mjs"
    script.write_text(FORGOTTEN.format(library=json.dumps(library), url=json.dumps(url)))
    assert run_script(["--expose-gc", script]).split() == ["4"]


BROKEN = """
import { readFileSync } from "node:fs";
import { instantiate } from "{runtime}";
import { sharedMemory } from "{workers}";

const memory = sharedMemory(), module = new WebAssembly.Module(readFileSync("{module}"));
const wasm = instantiate(module, (code, text) => { throw new Error(text); }, { memory });
const view = () => new DataView(memory.buffer);
const plan = readFileSync("{plan}"), bytes = wasm.malloc(plan.length), room = wasm.malloc(64);
new Uint8Array(memory.buffer).set(plan, bytes);
view().setInt32(room, 2, true);
view().setUint32(room + 4, 0, true);
if (wasm.oaq_load(bytes, plan.length, room, room + 8)) throw new Error("not loaded");
const session = view().getUint32(room + 8, true);
const x = wasm.malloc(40 * 40 * 16), y = [0, 1].map(() => wasm.malloc(1 << 20));
[x, ...y].forEach((at, i) => view().setUint32(room + 16 + 4 * i, at, true));
console.log(wasm.oaq_run(session, room + 16, room + 20, 1), wasm.oaq_web_chunks(1), wasm.oaq_web_chunks(0) > 0);
"""


def test_a_pool_whose_workers_never_come_is_computed_by_its_caller(folder: Path, tmp_path: Path) -> None:
    require_engine()
    install()
    root = ROOT / "web"
    script = tmp_path / "alone.mjs"
    text = BROKEN
    for name, value in {
        "runtime": (root / "src" / "runtime.js").as_uri(),
        "workers": (root / "src" / "workers.js").as_uri(),
        "module": str(root / "wasm" / "oaq-simd128-threads.wasm"),
        "plan": str(folder / "net.simd128.plan"),
    }.items():
        text = text.replace(f"{{{name}}}", value)
    script.write_text(text)
    assert run_script([script]).split() == ["0", "0", "true"]
