"""Ordinary int8 of a float network, as people who have it run it: files, and the runtimes that answer with them.

Files are ONNX Runtime's static QDQ (U8S8, a scale per channel): as it is, with ``reduce_range`` (7-bit weights), and
repaired by oaq. Held to AVX2, OpenVINO sums pairs of products in registers of 16 bits that saturate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.child import held_to
from benchmarks.process_peer import ProcessPeer
from oaq.errors import UnsupportedOp
from oaq.repair import repair
from oaq.report.peers import quantize_by_onnxruntime
from oaq.terminal import say
from recipes.float_onnx import export_float

HELD: Final = held_to("AVX2")
REGISTERS: Final = "avx2-acc32"
"""What the repaired file is made safe for."""
NAMES: Final = ("float", "int8", "reduce_range", "repaired")


@dataclass(frozen=True)
class Side:
    """Who answers.

    Attributes:
        title: what it is called.
        file: one of ``NAMES``.
        runtime: that runs it.
        environment: of its process.
    """

    title: str
    file: str
    runtime: str
    environment: Mapping[str, str]


SIDES: Final = (
    Side("int8, ONNX Runtime", "int8", "onnxruntime", {}),
    Side("int8, OpenVINO", "int8", "openvino", {}),
    Side("int8, OpenVINO held to AVX2", "int8", "openvino", HELD),
    Side("reduce_range, OpenVINO held to AVX2", "reduce_range", "openvino", HELD),
    Side("repaired, OpenVINO held to AVX2", "repaired", "openvino", HELD),
)


def int8_files(
    net: torch.nn.Module, batches: Sequence[NDArray[np.float32]], folder: Path, outputs: Sequence[str]
) -> dict[str, Path]:
    """Files by name; those that are in ``folder`` already are taken as they are.

    One that cannot be repaired is left out, with a warning.

    Args:
        net: the float network.
        batches: calibration data, (N, C, H, W) each.
        folder: made if it is not there.
        outputs: names of the network's outputs.
    """
    paths = {name: folder / f"{name}.onnx" for name in NAMES}
    folder.mkdir(parents=True, exist_ok=True)
    if not paths["float"].exists():
        export_float(net, batches[0][:1], paths["float"], outputs=outputs)
    for name in ("int8", "reduce_range"):
        if not paths[name].exists():
            with say.bar(f"ONNX Runtime: {name}", None):
                quantize_by_onnxruntime(paths["float"], paths[name], batches, reduce_range=name == "reduce_range")
    if not paths["repaired"].exists():
        try:
            with say.bar("oaq: repair", None):
                repair(paths["int8"], REGISTERS, batches).save(paths["repaired"])
        except UnsupportedOp as error:
            say.warn(f"{paths['int8']}: {error}; its repaired form is not run")
            del paths["repaired"]
    return paths


def answers_of(side: Side, files: Mapping[str, Path], x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """What a side answers to (n, C, H, W) samples, one at a time: (n, ...) of every output."""
    with ProcessPeer(files[side.file], x[:1], side.runtime, "int8", 1, side.environment) as child:
        return child.answers(x)
