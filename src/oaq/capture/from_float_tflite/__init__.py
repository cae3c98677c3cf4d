"""From a TFLite file in float to a ``FloatGraph``."""

from oaq.capture.from_float_tflite.normalize import declared_inputs, normalize

__all__ = ["declared_inputs", "normalize"]
