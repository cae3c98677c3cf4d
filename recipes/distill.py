"""The teacher of a training recipe, from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from torch import nn

from oaq.errors import ConfigError
from oaq.qat import Teacher, load_checkpoint

FLOAT: Final = "float"
"""The teacher that is the float network itself."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """--teacher and what it counts."""
    blank = Teacher()
    parser.add_argument(
        "--teacher",
        nargs="?",
        const=FLOAT,
        metavar="NETWORK=CHECKPOINT",
        help="distil the integers from the float network they begin as or, where the recipe has several networks, from "
        "another one's float.ckpt",
    )
    parser.add_argument(
        "--teacher-weight", type=float, metavar="A", help=f"of its answers, 0 to 1 (default {blank.weight})"
    )
    parser.add_argument(
        "--temperature", type=float, metavar="T", help=f"of the softmax of both (default {blank.temperature})"
    )
    parser.add_argument(
        "--features",
        action="append",
        metavar="PATTERN",
        help="layers whose outputs are to be like the float network's, by regular expression; may be repeated",
    )
    parser.add_argument(
        "--feature-weight", type=float, metavar="F", help=f"of what they differ by (default {blank.feature_weight})"
    )


def teacher_of(flags: argparse.Namespace, networks: Mapping[str, Callable[[], nn.Module]]) -> Teacher | None:
    """The teacher asked for; None: no option asks for one.

    Raises:
        ConfigError: options without a teacher, or a network the recipe does not have.
        FormatError, TrainingError: the checkpoint is none of that network.
    """
    names = {"weight": "teacher_weight", "temperature": "temperature", "feature_weight": "feature_weight"}
    settings = {key: getattr(flags, name) for key, name in names.items() if getattr(flags, name) is not None}
    if flags.features:
        settings["features"] = tuple(flags.features)
    if flags.teacher is None:
        if settings:
            raise ConfigError("options of a teacher are given, and no --teacher: give it, or leave them out")
        return None
    if flags.teacher == FLOAT:
        return Teacher(**settings)
    name, _, path = flags.teacher.partition("=")
    if name not in networks or not path:
        known = ", ".join(f"{network}=CHECKPOINT" for network in networks)
        raise ConfigError(
            f"--teacher {flags.teacher}: give {FLOAT} (or no name)" + (f", or one of {known}" if known else "")
        )
    module = networks[name]()
    load_checkpoint(Path(path), module)
    return Teacher(module.eval(), **settings)
