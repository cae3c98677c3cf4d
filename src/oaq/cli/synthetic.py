"""``oaq quantize --synthetic``: inputs that are made up, for networks whose data cannot be had."""

from __future__ import annotations

import argparse
import typing
from pathlib import Path

import numpy as np

from oaq.cli import images, models
from oaq.errors import CalibrationError
from oaq.terminal import say

if typing.TYPE_CHECKING:
    from oaq.capture.graph import FloatGraph
    from oaq.data.batches import Batch
    from oaq.data.preprocess import Preprocess


def add_arguments(parser: argparse.ArgumentParser, source: argparse._MutuallyExclusiveGroup) -> None:
    """--synthetic beside --calibrate, of which one is given; and how much is made up."""
    source.add_argument(
        "--synthetic",
        nargs="?",
        const="statistics",
        choices=("statistics", "pictures"),
        help="no data: calibrate on inputs that are made up; statistics: pictures of nothing, moved until batch norms "
        "see the means and deviations they remember (the default of the option); pictures: as they are drawn, which "
        "needs no batch norms and says less",
    )
    parser.add_argument("--synthetic-count", type=int, metavar="N", help="inputs made up (default 32)")
    parser.add_argument("--synthetic-steps", type=int, metavar="N", help="steps by which they are moved (default 40)")


def check(arguments: argparse.Namespace) -> None:
    """Refuse options of inputs that are not made up.

    Raises:
        CalibrationError: there is one.
    """
    if arguments.synthetic is None and (arguments.synthetic_count, arguments.synthetic_steps) != (None, None):
        raise CalibrationError("--synthetic-count and --synthetic-steps are of --synthetic; give it, or leave them out")


def network(
    arguments: argparse.Namespace, recorded: Preprocess | None
) -> tuple[FloatGraph, Preprocess, list[Batch], str]:
    """The captured network, how photos would go in, inputs in their place, and what is to be known of them.

    Raises:
        CalibrationError: the network reads no images, or remembers no statistics.
        FormatError, UnsupportedOp: as ``models.load`` and capture.
    """
    from oaq.ptq.synthetic import Synthetic, make_up

    numbers = {"count": arguments.synthetic_count, "steps": arguments.synthetic_steps}
    settings = Synthetic(arguments.synthetic, **{name: value for name, value in numbers.items() if value is not None})
    model = models.load(arguments.model)
    preprocessing = images.preprocess(arguments, recorded, models.photo_size(model))
    channels = models.input_channels(model)
    if channels is None:
        raise CalibrationError(
            f"{arguments.model}: its first layer does not read images of one or three channels; inputs are made up for "
            "those. Calibrate it on data"
        )
    shape = (channels, *preprocessing.size)
    if isinstance(model, Path):
        graph = models.capture(model, shape)
    else:
        from oaq.ptq.networks import graph_of

        graph, _ = graph_of(model, [np.zeros((1, *shape), np.float32)])
    if len(preprocessing.mean) not in (1, channels):
        raise CalibrationError(f"{arguments.model}: reads {channels} channels, --mean has {len(preprocessing.mean)}")
    with say.stages("make up inputs") as report:
        inputs = make_up(
            graph,
            settings,
            preprocessing,
            lambda step, steps, distance: report("move", f"{distance:.3f} from its statistics", step / steps),
        )
    words = (
        f"{settings.count} inputs that were made up ({settings.kind}), no data: ranges are rougher than those of photos"
    )
    if settings.kind == "statistics":
        words += f"; their distance from the network's statistics fell from {inputs.before:.3f} to {inputs.after:.3f}"
    return graph, preprocessing, inputs.batches, words
