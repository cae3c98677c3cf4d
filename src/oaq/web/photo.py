"""How a photo's bytes become a program's integers, as tables: a page looks them up and computes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from oaq.data.preprocess import Preprocess
from oaq.program.int_program import IntProgram


def photo_record(program: IntProgram) -> dict[str, Any] | None:
    """Size, fit and, by channel, the integer of each value of a pixel; None if the program does not take a photo.

    A table's integers are those of ``data.photos`` and ``Session.run`` for a photo of that value: the same float32
    operations, one after another.
    """
    preprocess = Preprocess.from_metadata(program.metadata)
    if preprocess is None or len(program.inputs) != 1:
        return None
    spec = program.tensors[program.inputs[0]]
    channels = len(preprocess.mean)
    if channels != 3 or tuple(spec.shape) != (*preprocess.size, channels):
        return None
    values = np.arange(256, dtype=np.float32)[:, None] / np.float32(255)
    reals = (values - np.array(preprocess.mean, np.float32)) / np.array(preprocess.std, np.float32)
    tables = spec.affine.quantize(reals, spec.range).T.astype(int).tolist()
    return {
        "size": list(preprocess.size),
        "resize": preprocess.resize,
        "fit": preprocess.fit,
        "interpolation": preprocess.interpolation,
        "tables": tables,
    }
