"""From a TFLite file: ``read`` to plain values, then to an ``IntProgram``."""

from oaq.capture.from_tflite.graph import TfliteGraph, TfliteOperator, TfliteTensor
from oaq.capture.from_tflite.importer import import_tflite
from oaq.capture.from_tflite.reader import decode, read

__all__ = ["TfliteGraph", "TfliteOperator", "TfliteTensor", "decode", "import_tflite", "read"]
