"""Which layers of any integer network can leave the registers of which kernels, with inputs that do it."""

from __future__ import annotations

from oaq.doctor.diagnose import diagnose
from oaq.doctor.diagnosis import Diagnosis, LayerDiagnosis, LayerVerdict, Seen
from oaq.doctor.registers import REGISTERS, RegisterModel, registers_named

__all__ = [
    "REGISTERS",
    "Diagnosis",
    "LayerDiagnosis",
    "LayerVerdict",
    "RegisterModel",
    "Seen",
    "diagnose",
    "registers_named",
]
