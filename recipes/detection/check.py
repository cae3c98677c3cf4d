r"""The port beside OpenCV's reader of the same frozen graph: the largest difference of every raw output on photos.

    pip install 'oaq[opencv]'
    python -m recipes.detection.check --record

OpenCV reads weights and structure by code of its own, so that what both compute the same is what the file says.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.data.photos import read_photo
from oaq.errors import OaqError
from oaq.terminal import say
from oaq.terminal.table import Table
from recipes import result_file
from recipes.data import photos
from recipes.data.packages import unpack
from recipes.detection import ssd
from recipes.result_file import Result, stamp

RECORDED: Final = Path(__file__).parents[2] / "benchmarks" / "results"


def opencv_outputs(graph: Path, text: Path, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """What OpenCV computes for (1, 3, 300, 300) in -1..1, laid out as ``SsdMobileNetV2`` has it.

    Its description of the graph scales pixels of 0..255 itself, and has offsets as (x, y, w, h).
    """
    cv2: Any = importlib.import_module("cv2")

    engine = [cv2.dnn.ENGINE_CLASSIC] if hasattr(cv2.dnn, "ENGINE_CLASSIC") else []
    read: Any = cv2.dnn.readNetFromTensorflow  # its arguments are others in OpenCV 4 and 5
    net = read(str(graph), str(text), *engine)
    net.setInput((x * 0.5 + 0.5) * 255)
    parts = ("BoxEncodingPredictor", "ClassPredictor")
    outputs = net.forward([f"BoxPredictor_{level}/{part}/Conv2D" for level in range(6) for part in parts])
    return [_offsets(y) if at % 2 == 0 else y for at, y in enumerate(outputs)]


def _offsets(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    count, channels, rows, columns = boxes.shape
    return boxes.reshape(count, channels // 4, 4, rows, columns)[:, :, [1, 0, 3, 2]].reshape(boxes.shape)


def differences(paths: Sequence[Path]) -> list[tuple[str, float, float]]:
    """(output, largest difference, largest value) over all photos."""
    files = unpack(ssd.PACKAGE, [ssd.MEMBER, ssd.GRAPH_TEXT])
    net, task = ssd.load(files[ssd.MEMBER])
    names = [part.output for head in task.decoder.heads for part in (head.boxes, head.scores)]
    worst = dict.fromkeys(names, (0.0, 0.0))
    for path in say.track(paths, "photos"):
        x = read_photo(path, task.preprocess)[None]
        with torch.inference_mode():
            outputs = [y.numpy() for y in net(torch.from_numpy(x))]
        for name, y, peer in zip(
            names, outputs, opencv_outputs(files[ssd.MEMBER], files[ssd.GRAPH_TEXT], x), strict=True
        ):
            difference, value = worst[name]
            worst[name] = max(difference, float(np.abs(y - peer).max())), max(value, float(np.abs(peer).max()))
    return [(name, *pair) for name, pair in worst.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and write what was seen."""
    parser = argparse.ArgumentParser(
        "python -m recipes.detection.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=8, metavar="N", help="how many (default 8)")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/detection_port.json")
    flags = parser.parse_args(arguments)
    try:
        cv2: Any = importlib.import_module("cv2")

        rows = differences([photo.path for photo in photos.labelled()][: flags.photos])
    except ModuleNotFoundError:
        sys.stderr.write("detection: OpenCV is not installed: pip install 'oaq[opencv]'\n")
        return 2
    except OaqError as error:
        sys.stderr.write(f"detection: {error}\n")
        return 2
    texts = [(name, f"{difference:.2e}", f"{value:.3f}") for name, difference, value in rows]
    say.tables([Table("Raw outputs beside OpenCV", ("output", "largest difference", "largest value"), tuple(texts))])
    worst = max(difference for _, difference, _ in rows)
    facts = (("largest difference of any output", f"{worst:.2e}"), ("photos", str(flags.photos)))
    columns = ("output", "largest_difference", "largest_value")
    table = tuple(tuple(zip(columns, row, strict=True)) for row in texts)
    note = f"OpenCV {cv2.__version__}; ssd_mobilenet_v2_coco_2018_03_29 from {ssd.PACKAGE}."
    if flags.record:
        command = f"python -m recipes.detection.check --photos {flags.photos} --record"
        result_file.store(
            Result("detection_port", command, stamp(), None, facts, table, (note,)), RECORDED, "detection_port"
        )
    return 0 if worst < 1e-2 else 1


if __name__ == "__main__":
    sys.exit(main())
