"""Native sources compiled for systems that are not here: Windows, macOS, Linux with musl. To objects; nothing runs.

    python -m benchmarks.other_systems [TARGET ...]      or: make other-systems

The compiler is that of the ziglang wheel, whose headers of those systems come with it. What CMake would choose there is
compiled: the code for any CPU, on Arm the rows of Arm, and oaq.h's functions; with every warning an error.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from benchmarks.cmake_build import ROOT
from benchmarks.cross_build import cross_compiler, environment

TARGETS: Final = ("x86_64-windows-gnu", "x86_64-macos", "aarch64-macos", "x86_64-linux-musl")
IN_CMAKE: Final = re.compile(r"^set\(folders ([a-z ]+)\)$", re.MULTILINE)
WARNINGS: Final = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Werror")
ARM_FEATURES: Final = {"dotprod": "-mcpu=generic+dotprod", "i8mm": "-mcpu=generic+dotprod+i8mm"}
SYSTEMS: Final = re.compile(r"_WIN32|__APPLE__|__linux__")


def folders() -> list[str]:
    """Those that CMakeLists.txt names: every .cc right in one of them is for any CPU."""
    (names,) = IN_CMAKE.findall((ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))
    return names.split()


def sources(target: str) -> list[Path]:
    """Files that are compiled for a target."""
    native = ROOT / "native"
    files = [path for folder in folders() for path in (native / folder).glob("*.cc")]
    if target.startswith("aarch64"):
        files += native.glob("*/arm/*.cc")
    return sorted([*files, native / "front" / "c" / "oaq.cc"])


def differing(target: str) -> list[Path]:
    """Those of them that say something else on another system."""
    return [path for path in sources(target) if SYSTEMS.search(path.read_text(encoding="utf-8"))]


def complaint(target: str, source: Path) -> str:
    """What the compiler says of a file; "" if it takes it.

    Raises:
        CannotBuild: there is no cross compiler.
    """
    flags = ["-std=c++20", "-O0", "-ffp-contract=off", *WARNINGS, f"-I{ROOT / 'native'}", "-DOAQ_BUILDING"]
    if target.startswith("aarch64"):
        flags += ["-DOAQ_ARM64", *filter(None, [ARM_FEATURES.get(source.stem.split("_")[-1])])]
    with tempfile.TemporaryDirectory() as folder:
        command = [cross_compiler(), "c++", "-target", target, *flags, "-c", source, "-o", Path(folder) / "out.o"]
        process = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    return process.stderr.strip() or f"exit code {process.returncode}" if process.returncode else ""


def complaints(target: str, files: Iterable[Path]) -> Iterator[str]:
    """What the compiler says of files that it refuses, two at a time."""
    files = list(files)
    with ThreadPoolExecutor(2) as pool:
        for file, text in zip(files, pool.map(lambda file: complaint(target, file), files), strict=True):
            if text:
                yield f"{target}: {file.relative_to(ROOT)}:\n{text}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile everything for the targets; exit code 1 if a file is refused."""
    parser = argparse.ArgumentParser("python -m benchmarks.other_systems", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="TARGET", help="default: all of them")
    refused = 0
    for target in parser.parse_args(arguments).targets:
        files = sources(target)
        texts = list(complaints(target, files))
        refused += len(texts)
        sys.stdout.write("".join(f"{text}\n" for text in texts))
        sys.stdout.write(f"{target}: {len(files) - len(texts)} of {len(files)} files compile\n")
    return 1 if refused else 0


if __name__ == "__main__":
    raise SystemExit(main())
