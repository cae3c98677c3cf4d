"""The options of ``oaq quantize`` for few levels a channel: ``--daq`` and what goes with it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from oaq.errors import CalibrationError, FormatError

if TYPE_CHECKING:
    from oaq.ptq.daq import Daq

FLAGS: Final = {
    "daq_bits": "bits",
    "daq_table": "table",
    "daq_sigma_bits": "sigma_bits",
    "daq_weights": "weights",
    "daq_weight_bits": "weight_bits",
    "daq_mixed": "mixed",
    "daq_layers": "layers",
}
"""Fields of ``oaq.ptq.Daq`` by the names of their options."""
TABLES: Final = ("paper", "gauss", "laplace", "mse", "minmax", "minmax_tensor")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--daq, --daq-bits, --daq-table ..."""
    group = parser.add_argument_group("few levels a channel (DAQ), instead of a budget")
    group.add_argument(
        "--daq",
        choices=("static", "dynamic"),
        help="what layers read gets few levels a channel, placed by its mean and deviation: of calibration (static: "
        "longer proved runs), or of each image (dynamic: saves memory, and no arithmetic)",
    )
    group.add_argument("--daq-bits", type=int, metavar="B", help="2 to 6 (default 4)")
    group.add_argument(
        "--daq-table", choices=TABLES, help="what a step is in deviations (default mse: least error on the samples)"
    )
    group.add_argument("--daq-sigma-bits", type=int, metavar="B", help="round deviations of a tensor, 2 to 8 (static)")
    group.add_argument(
        "--daq-weights", choices=("symmetric", "midrise"), help="of those layers (default symmetric, which holds 0)"
    )
    group.add_argument("--daq-weight-bits", type=int, metavar="B", help="2 to 8; midrise at most 7 (default 8)")
    group.add_argument(
        "--daq-mixed", action="store_const", const=True, help="one bit more or less by channel, the mean stays"
    )
    group.add_argument(
        "--daq-layers", metavar="REGEX", help="names of the layers that read levels (default: all but first and last)"
    )


def levels_of(arguments: argparse.Namespace) -> Daq | None:
    """What the options say; None without ``--daq``.

    Raises:
        CalibrationError: an option that goes with ``--daq`` is alone, a budget is asked for too, or a value is none.
        FormatError: dynamic levels are to be written as ONNX.
    """
    values: dict[str, Any] = {
        field: getattr(arguments, name) for name, field in FLAGS.items() if getattr(arguments, name) is not None
    }
    if arguments.daq is None:
        if values:
            names = ", ".join(f"--daq-{field.replace('_', '-')}" for field in values)
            raise CalibrationError(f"{names}: goes with --daq static or --daq dynamic, which is not there")
        return None
    if arguments.budget not in (..., None):
        raise CalibrationError(
            f"--budget {arguments.budget:g} and --daq both decide how many bits layers have: leave one out"
        )
    if arguments.daq == "dynamic" and arguments.out.suffix.lower() == ".onnx":
        raise FormatError(
            f"--daq dynamic --out {arguments.out}: ONNX has no integers for exact statistics; write an .oaq file, or "
            "take --daq static"
        )
    from oaq.ptq.daq import Daq

    return Daq(mode=arguments.daq, **values)
