"""The package as npm packs it: it runs in a folder that holds nothing else, and its types say what there is."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.web.build import PACKAGE, install
from benchmarks.web.node import node, run_script
from oaq.seal.signature import model_signature
from oaq.web import write
from tests.web.machine import NOT_RUN, require_engine
from tests.web.test_package import classifier

pytestmark = pytest.mark.xdist_group("web")

TYPES = (PACKAGE / "src" / "index.d.ts").read_text()
PACKED: dict[str, Any] = json.loads((PACKAGE / "package.json").read_text())


def npm(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """The npm that lies beside Node, without a network."""
    require_engine()
    program = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not program.is_file():
        pytest.skip(f"{NOT_RUN}: the npm package as it is packed: there is no npm beside {node()}")
    options = ("--offline", "--no-audit", "--no-fund", "--no-update-notifier", f"--cache={folder / 'cache'}")
    command = [node(), program, *map(str, arguments), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that npm has installed the packed package into, and a network beside it."""
    require_engine()
    install()
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text('{"name": "page", "private": true, "type": "module"}')
    packed = npm("pack", PACKAGE, "--silent", folder=folder)
    assert packed.returncode == 0, packed.stderr
    done = npm("install", f"./{packed.stdout.split()[-1]}", folder=folder)
    assert done.returncode == 0, done.stderr
    write(classifier(), folder / "net", "net")
    return folder


def test_it_needs_no_other_package(installed: Path) -> None:
    assert not {"dependencies", "peerDependencies", "optionalDependencies"} & PACKED.keys()
    assert [path.name for path in (installed / "node_modules").iterdir() if path.name[0] != "."] == ["oaq-web"]
    held = {str(path.relative_to(PACKAGE)) for part in ("src", "wasm") for path in (PACKAGE / part).iterdir()}
    place = installed / "node_modules" / "oaq-web"
    files = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    assert files == held | {"package.json", "README.md"}


PAGE = """
import * as oaq from "oaq-web";
const net = await oaq.load(new URL("net/net.json", import.meta.url));
net.check();
const own = [...Object.getOwnPropertyNames(oaq.Network.prototype), ...Object.keys(net)];
console.log(JSON.stringify({ exports: Object.keys(oaq), members: own, measured: net.measure() }));
"""


def test_a_network_runs_by_its_name_and_the_types_name_all_that_there_is(installed: Path) -> None:
    (installed / "page.mjs").write_text(PAGE)
    said = json.loads(run_script([installed / "page.mjs"]))
    assert said["measured"] == model_signature(classifier())
    assert sorted(said["exports"]) == sorted(re.findall(r"^export declare (?:class|function) (\w+)", TYPES, re.M))
    (body,) = re.findall(r"^export declare class Network \{(.*?)^\}", TYPES, re.M | re.S)
    declared = re.findall(r"^  (?:readonly )?(\w+)[:(]", body, re.M)
    assert sorted(declared) == sorted(set(said["members"]) - {"constructor"})


CONSUMER = """
import { type Build, type Classified, type Detected, Network, OaqError, builds, defaultThreads, load } from "oaq-web";
export async function use(image: ImageData, picture: HTMLImageElement): Promise<string> {
  const chosen: Build | undefined = builds()[0];
  const net: Network = await load("net/net.json", { build: chosen, threads: defaultThreads(), certificate: "00" });
  const outputs: Uint8Array[] = net.run(image);
  const more: Uint8Array[] = net.run([new Uint8Array(4), image]);
  const best: Classified[] = net.classify(net.prepare(picture), 3);
  const found: Detected[] = net.detect(net.prepare(picture), picture, 0.5);
  const reals: Float32Array = net.reals(outputs[0]!);
  const fullest = Math.max(...net.layers.map((layer) => layer.used ?? 0));
  net.close();
  return `${more.length} ${best[0]?.label} ${found[0]?.box.join()} ${reals.length} ${fullest} ${net.photo?.size}`;
}
export const codeOf = (error: unknown): string => (error instanceof OaqError ? error.code : "unknown");
"""
WRONG = (
    'import { load } from "oaq-web"; (await load("x")).run("photo");',
    'import { load } from "oaq-web"; await load("x", { build: "simd" });',
    'import { load } from "oaq-web"; (await load("x")).threads = 2;',
    'import { Network } from "oaq-web"; new Network();',
)


def test_a_program_in_typescript_is_checked_strictly(installed: Path) -> None:
    compiler = PACKAGE / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.is_file():
        pytest.skip("TypeScript NOT RUN: it is not installed; run npm install in web/")
    (installed / "use.ts").write_text(CONSUMER)
    for index, line in enumerate(WRONG):
        (installed / f"wrong{index}.ts").write_text(f"{line}\nexport {{}};\n")
    flags = ["--noEmit", "--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext"]
    flags += ["--lib", "es2022,dom"]
    sources = ["use.ts", *(f"wrong{index}.ts" for index in range(len(WRONG)))]
    done = subprocess.run(
        [node(), compiler, *flags, *sources], cwd=installed, capture_output=True, text=True, check=False
    )
    faults = re.findall(r"^(\S+?)\((?:\d+),\d+\): error", done.stdout, re.M)
    assert sorted(faults) == [f"wrong{index}.ts" for index in range(len(WRONG))], done.stdout


def test_a_package_without_modules_is_not_packed(tmp_path: Path) -> None:
    require_engine()
    bare = tmp_path / "web"
    (bare / "src").mkdir(parents=True)
    for name in ("package.json", "prepack.mjs", "README.md"):
        (bare / name).write_bytes((PACKAGE / name).read_bytes())
    done = npm("pack", bare, folder=tmp_path)
    assert done.returncode != 0 and "not built; run python -m benchmarks.web.build" in done.stderr
    assert not [*tmp_path.glob("*.tgz")]
