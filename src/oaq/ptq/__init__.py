"""After training: calibrate, equalise, decide where precision is given up, round, correct biases. Needs torch.

``oaq.quantize`` is all that most callers need. ``Options`` are its keywords as a value, ``quantize_with_report`` also
says what was chosen for each layer. ``Uniform`` with a ``Target`` replaces the budget by bits and an accumulator,
``Daq`` by few levels for each channel. ``Piecewise`` weights take fewer bits of a file; ``quantize_exact`` makes their
published form.
"""

from __future__ import annotations

from oaq.choose.target import Target
from oaq.ptq.daq import Daq
from oaq.ptq.exact import quantize_exact
from oaq.ptq.options import Options
from oaq.ptq.pieces import Piecewise
from oaq.ptq.quantize import QuantizeReport, quantize, quantize_with_report
from oaq.ptq.uniform import Uniform

__all__ = [
    "Daq",
    "Options",
    "Piecewise",
    "QuantizeReport",
    "Target",
    "Uniform",
    "quantize",
    "quantize_exact",
    "quantize_with_report",
]
