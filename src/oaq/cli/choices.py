"""How ``oaq quantize`` chooses integers: the flags behind ``ptq.options.Options``."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from typing import Final

from oaq.cli import daq
from oaq.errors import CalibrationError
from oaq.kernels.targets import DEFAULT_TARGET, TARGETS
from oaq.numerics.requantize import SEMANTICS
from oaq.terminal import say

if typing.TYPE_CHECKING:
    from oaq.ptq.options import Options
    from oaq.ptq.pieces import Piecewise

TARGET_NAMES: Final = {"avx512": "avx512bw", "all": "avx2"}
"""Further names of targets."""


def add_choices(parser: argparse.ArgumentParser) -> None:
    """--budget, --target, --calibration, --requantize, --rounding and what is said of weights."""
    parser.add_argument(
        "--budget",
        type=_budget,
        default=...,
        metavar="B",
        help="predicted cost allowed, 1.0 being 16-bit sums without a spill; 'none' keeps 8 bits everywhere (default: "
        "give up precision only where it pays)",
    )
    parser.add_argument(
        "--target",
        choices=(*TARGETS, *TARGET_NAMES),
        default=DEFAULT_TARGET,
        help="instruction set that the budget is counted on, whatever machine quantizes; on vnni, avxvnni, dotprod and "
        "i8mm a budget buys nothing and every layer keeps 8 bits; on wasm-relaxed layers read 7; all is avx2: what "
        "is narrow enough there is fast on every x86, and every file runs everywhere (default %(default)s)",
    )
    parser.add_argument(
        "--calibration",
        choices=("mse", "minmax", "percentile", "entropy"),
        default="mse",
        help="how the range of a tensor is chosen from what it held: least squared error, everything, all but the "
        "farthest 0.01 %%, or what keeps most of the distribution (default %(default)s)",
    )
    parser.add_argument(
        "--requantize",
        choices=SEMANTICS,
        default="float32_half_even",
        help="how sums become bytes: by one float32 product, as ONNX Runtime does, or by integers only, for hardware "
        "that knows nothing else; ONNX files hold the first only (default %(default)s)",
    )
    parser.add_argument(
        "--rounding",
        choices=("axe", "adaround", "nearest"),
        default="axe",
        help="of weights: with error feedback inside the accumulators' budgets, learned (takes longer), or to nearest, "
        "which looks at no data (default axe)",
    )
    parser.add_argument(
        "--informed-terms",
        type=int,
        metavar="K",
        help="layers that sum more than K products round to nearest, whatever --rounding says: where calibration shows "
        "fewer positions than that, data have little to say (default: none do)",
    )
    _add_weights(parser)


def _add_weights(parser: argparse.ArgumentParser) -> None:
    """--weights, --weight-bits and --layer-bits."""
    parser.add_argument(
        "--weights",
        choices=("uniform", "piecewise"),
        default="uniform",
        help="piecewise: of a codebook with fine steps about zero and coarse ones in the tails; a weight takes "
        "--weight-bits + 1 bits of the file (default %(default)s)",
    )
    parser.add_argument(
        "--weight-bits", type=int, metavar="B", help="of piecewise weights, 2 to 6 (default 4: 5 bits of the file)"
    )
    parser.add_argument(
        "--layer-bits",
        action="append",
        type=_layer_bits,
        default=[],
        metavar="NAME=B",
        help="piecewise weights of B bits in this layer, 8 for none; NAME is a regular expression for its whole name; "
        "repeated: the last that matches",
    )
    add_dead_units(parser)


def add_dead_units(parser: argparse.ArgumentParser) -> None:
    """--remove-dead."""
    parser.add_argument(
        "--remove-dead",
        action="store_true",
        help="leave out channels that nothing reads or that hold one integer whatever comes in, where that changes no "
        "integer of any output (pruned networks have such)",
    )


def options_of(arguments: argparse.Namespace) -> Options:
    """The options that the flags stand for; what a budget does not buy is told.

    Raises:
        CalibrationError: they contradict one another, or are out of range.
    """
    from oaq.ptq.options import Options

    options = Options(
        calibration=arguments.calibration,
        requantize=arguments.requantize,
        rounding=arguments.rounding,
        informed_terms=arguments.informed_terms,
        target=target_of(arguments),
        weights=_pieces(arguments) or "uniform",
    )
    levels = daq.levels_of(arguments)
    if levels is not None:
        options = dataclasses.replace(options, daq=levels)
    if arguments.budget is not ...:
        options = dataclasses.replace(options, budget=arguments.budget)
    if options.note:
        say.warn(options.note)
    return options


def target_of(arguments: argparse.Namespace) -> str:
    """The name of ``kernels.targets.TARGETS`` that --target means."""
    target: str = arguments.target
    return TARGET_NAMES.get(target, target)


def _pieces(arguments: argparse.Namespace) -> Piecewise | None:
    from oaq.ptq.pieces import Piecewise

    if arguments.weights == "piecewise":
        bits = {} if arguments.weight_bits is None else {"bits": arguments.weight_bits}
        return Piecewise(**bits, layers=tuple(arguments.layer_bits))
    if arguments.weight_bits is not None or arguments.layer_bits:
        raise CalibrationError(
            "--weight-bits and --layer-bits are of --weights piecewise; give that, or leave them out"
        )
    return None


def _budget(text: str) -> float | None:
    return None if text.lower() == "none" else float(text)


def _layer_bits(text: str) -> tuple[str, int]:
    name, _, bits = text.rpartition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=BITS")
    return name, int(bits)
