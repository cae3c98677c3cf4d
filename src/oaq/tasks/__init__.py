"""What a network is for: a task is a value that says how photos go in, what outputs mean, how good answers are.

Classification, detection, segmentation and super-resolution are four values of ``Task``. Whatever shows, scores or
compares answers (quantize, run, report, recipes) takes a task and asks nothing else. Only numpy is imported here;
drawing loads Pillow when it is called.
"""

from __future__ import annotations

from oaq.tasks.classify import Classifier, classify
from oaq.tasks.detect import Detector, detect
from oaq.tasks.detections import Detections
from oaq.tasks.record import from_metadata, load_task, task_metadata
from oaq.tasks.segment import Segmenter, segment
from oaq.tasks.task import Metric, Task
from oaq.tasks.upscale import Upscaler, upscale

__all__ = [
    "Classifier",
    "Detections",
    "Detector",
    "Metric",
    "Segmenter",
    "Task",
    "Upscaler",
    "classify",
    "detect",
    "from_metadata",
    "load_task",
    "segment",
    "task_metadata",
    "upscale",
]
