"""Every error oaq raises on purpose, in one tree.

An ``OaqError`` is about what the caller gave us: its message says what is wrong, where, with which numbers, and what to
do next, and is fit to be shown to a user as it is. Anything else that escapes is a defect of oaq.
"""

from __future__ import annotations

from oaq.escape import escape_message


class OaqError(Exception):
    """Base of every error raised on purpose. Its text can be shown as it is: names from files in it are escaped."""

    def __str__(self) -> str:
        return escape_message(super().__str__())


class FormatError(OaqError):
    """A file or a buffer is not what it claims to be: missing, truncated, edited, of another version."""


class ProgramError(OaqError):
    """An ``IntProgram`` (or the input given to one) breaks an invariant: shapes, ranges, names, types."""


class AccumulatorOverflow(OaqError):
    """A sum can leave its register, so what was asked for cannot be proved."""


class UnsupportedOp(OaqError):
    """A network holds an operator (or a variant of one) that oaq does not know."""


class NoKernel(OaqError):
    """No kernel row that may be used here computes this node."""


class MemoryLimit(OaqError):
    """Running would take more memory than it may, or than there is."""


class Mismatch(OaqError):
    """Two executors that must agree bit for bit do not."""


class CalibrationError(OaqError):
    """Calibration data is empty, of the wrong shape, or holds NaN or infinity."""


class ConfigError(OaqError):
    """Settings are unknown, of the wrong type, out of range, or contradict each other."""


class TrainingError(OaqError):
    """Training cannot start or go on: the loss is not finite, there is no data, a checkpoint is of another run."""
