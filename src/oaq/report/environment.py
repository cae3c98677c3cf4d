"""The stamp on every figure: CPU, compiler, commit, versions, date."""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from oaq.kernels.cpu import cpu_name
from oaq.kernels.cpus import allowed_cpus
from oaq.report.data import Environment

PACKAGES: tuple[str, ...] = ("oaq", "numpy", "torch", "onnx", "onnxruntime", "openvino")
"""Packages whose versions a stamp records, where installed."""


def environment(packages: Sequence[str] = PACKAGES) -> Environment:
    """Describe this machine and this process.

    Args:
        packages: distribution names; those not installed are left out.
    """
    isas, compiler = _native()
    return Environment(
        cpu=cpu_name(),
        cores=allowed_cpus().affinity,
        isas=isas,
        forced_isa=os.environ.get("OAQ_ISA", ""),
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        compiler=compiler,
        commit=commit(Path(__file__).parent) or installed_commit(),
        versions=tuple((name, version) for name in packages if (version := _version(name))),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def commit(folder: Path) -> str:
    """Commit of the source tree that holds ``folder``, "+" appended if tracked files differ; empty outside one."""

    def git(*arguments: str) -> str:
        try:
            process = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return process.stdout.strip() if process.returncode == 0 else ""

    if not git("ls-files", "--error-unmatch", str(Path(__file__))):
        return ""  # installed below some other project's checkout: its commit says nothing about us
    revision = git("rev-parse", "--short=12", "HEAD")
    return revision + ("+" if revision and git("status", "--porcelain", "--untracked-files=no") else "")


def installed_commit() -> str:
    """The commit that pip installed oaq from, if it installed it from a repository (PEP 610); empty otherwise."""
    try:
        origin = json.loads(metadata.distribution("oaq").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError, OSError):
        return ""
    revision = origin.get("vcs_info", {}).get("commit_id", "") if isinstance(origin, dict) else ""
    return revision[:12] if isinstance(revision, str) else ""


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _native() -> tuple[tuple[str, ...], str]:
    """Instruction sets and compiler; nothing where the native module is not built."""
    try:
        native = importlib.import_module("oaq.kernels._native")
    except ImportError:
        return (), ""
    build = native.build_info()
    return tuple(native.cpu_isas()), " ".join(str(build[key]) for key in ("compiler", "flags") if build.get(key))
