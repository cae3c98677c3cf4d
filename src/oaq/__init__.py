"""oaq: overflow-aware quantization. Neural networks as exact integers whose sums are proved to fit their registers.

A *program* of integers goes in. ``analyze`` proves where its sums can go. ``plan`` picks only kernels and spill points
for which that proof holds. ``Session`` executes them. ``verify`` checks every executor against one reference.
``quantize`` shapes the numbers so that the plan needs few spills: precision buys speed, never correctness.

This file is the whole public surface. Importing it loads NumPy and nothing heavier: ``quantize``,
``quantize_dynamic``, ``ptq`` and ``qat`` load torch, ``export.onnx`` and ``repair.repair`` load onnx, when they are
called for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from oaq.errors import (
    AccumulatorOverflow,
    CalibrationError,
    ConfigError,
    FormatError,
    MemoryLimit,
    Mismatch,
    NoKernel,
    OaqError,
    ProgramError,
    TrainingError,
    UnsupportedOp,
)
from oaq.kernels.plan import Plan, plan
from oaq.overflow.analyze import analyze
from oaq.overflow.proof import Proof
from oaq.overflow.settle import settle
from oaq.overflow.witness import witness
from oaq.program.files import load
from oaq.program.int_program import IntProgram
from oaq.report.build import build_report as report
from oaq.runtime.c_front import include_dir, library_dir
from oaq.runtime.session import Session
from oaq.seal.parts import save
from oaq.tune.tune import tune
from oaq.verify.run import verify, verify_file

if TYPE_CHECKING:
    from oaq import data, export, ptq, qat, repair, robust
    from oaq.capture.model_file import import_model
    from oaq.doctor.diagnose import diagnose
    from oaq.mixed.inference import InferenceSession
    from oaq.mixed.options import (
        ExecutionMode,
        GraphOptimizationLevel,
        SessionOptions,
        get_available_providers,
        get_device,
    )
    from oaq.modules.quantize_dynamic import quantize_dynamic
    from oaq.ptq.quantize import quantize
    from oaq.regions.quantize import quantize_onnx
    from oaq.robust.prove import robustness

    __version__: str

_HOMES = {
    "ExecutionMode": "oaq.mixed.options",
    "GraphOptimizationLevel": "oaq.mixed.options",
    "InferenceSession": "oaq.mixed.inference",
    "SessionOptions": "oaq.mixed.options",
    "get_available_providers": "oaq.mixed.options",
    "get_device": "oaq.mixed.options",
    "diagnose": "oaq.doctor.diagnose",
    "import_model": "oaq.capture.model_file",
    "quantize": "oaq.ptq.quantize",
    "quantize_dynamic": "oaq.modules.quantize_dynamic",
    "quantize_onnx": "oaq.regions.quantize",
    "robustness": "oaq.robust.prove",
}
__all__ = [
    "AccumulatorOverflow",
    "CalibrationError",
    "ConfigError",
    "ExecutionMode",
    "FormatError",
    "GraphOptimizationLevel",
    "InferenceSession",
    "IntProgram",
    "MemoryLimit",
    "Mismatch",
    "NoKernel",
    "OaqError",
    "Plan",
    "ProgramError",
    "Proof",
    "Session",
    "SessionOptions",
    "TrainingError",
    "UnsupportedOp",
    "__version__",
    "analyze",
    "data",
    "diagnose",
    "export",
    "get_available_providers",
    "get_device",
    "import_model",
    "include_dir",
    "library_dir",
    "load",
    "plan",
    "ptq",
    "qat",
    "quantize",
    "quantize_dynamic",
    "quantize_onnx",
    "repair",
    "report",
    "robust",
    "robustness",
    "save",
    "settle",
    "tune",
    "verify",
    "verify_file",
    "witness",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (PEP 562)
    """What must not be loaded before it is asked for."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in ("data", "export", "ptq", "qat", "repair", "robust"):
        return import_module(f"oaq.{name}")
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("oaq")
        except PackageNotFoundError:
            return "0+source"
    raise AttributeError(f"module 'oaq' has no attribute {name!r}; its public names are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
