"""``oaq run`` of a task that enlarges: photos of any size as they are, pane by pane."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oaq.cli import answers
from oaq.cli.network import Network
from oaq.cli.tasks import answer_of, encoded
from oaq.data.batches import PHOTOS, files
from oaq.data.photos import prepare, read_pixels
from oaq.data.window import Window
from oaq.errors import ProgramError
from oaq.program.atomic import write_atomically
from oaq.program.frames import Size
from oaq.runtime.frames import FrameSession
from oaq.tasks import Task
from oaq.terminal import say


def frames_of(
    network: Network, task: Task, places: Sequence[Path], arguments: argparse.Namespace
) -> FrameSession | None:
    """The session for photos of any size; None where photos are fitted to the network instead.

    They are fitted where flags say how, where inputs are arrays, and where the network means something at one size
    only.
    """
    fitted = arguments.size or arguments.resize or arguments.fit
    if task.name != "upscale" or network.stored is None or fitted:
        return None
    if any(path.suffix.lower() not in PHOTOS for place in places for path in files(place)):
        return None
    try:
        return FrameSession(network.stored, threads=arguments.threads, isa=arguments.isa)
    except ProgramError as error:
        say.warn(f"{network.path}: photos are fitted to its size: {error}")
        return None


def replies(session: FrameSession, task: Task, places: Sequence[Path], gallery: Path | None) -> list[answers.Reply]:
    """The answer about every photo, whole; with ``gallery``, its picture in a file.

    Raises:
        FormatError: a photo does not decode, or a picture cannot be written.
        ProgramError: the output is not what the task reads.
    """
    paths = [path for place in places for path in files(place)]
    pictures = [] if gallery is None else answers.picture_paths(gallery, paths)
    result = []
    for index, path in enumerate(say.track(paths, "run")):
        photo = read_pixels(path)
        size: Size = photo.shape[:2]
        whole = dataclasses.replace(task.preprocess, size=size, resize=None, fit="stretch")
        outputs = session.run(prepare(photo, whole)[None])
        values = outputs if isinstance(outputs, tuple) else (outputs,)
        named = {name: np.asarray(y)[0] for name, y in zip(session.program.outputs, values, strict=True)}
        answer = answer_of(task, named, path)
        window = Window(0.0, 0.0, float(size[1]), float(size[0]))
        if pictures:
            write_atomically(pictures[index], [encoded(task.draw(photo, answer, window), pictures[index].suffix)])
        result.append(answers.Reply(str(path), size, task.entries(answer, window, size)))
    return result
