"""Folders of photos and arrays as batches for calibration and for running.

Batches are float32, (n, C, H, W) unless ``channels_last``. Photos need Pillow (``pip install pillow``), which is
loaded when the first photo is read.
"""

from __future__ import annotations

from oaq.data.batches import Batches, files, read
from oaq.data.preprocess import Preprocess

__all__ = ["Batches", "Preprocess", "files", "read"]
