"""What a repair changed, what that is known to cost, and the file that came of it: values."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isinf
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.doctor import Diagnosis
from oaq.errors import FormatError
from oaq.program.atomic import write_atomically

SCHEMA: Final = 1


@dataclass(frozen=True, eq=False)
class LayerRepair:
    """One layer that was changed.

    Attributes:
        node: its name.
        outputs: N.
        terms: K.
        changed: (U,) which outputs were unsafe; no other weight of the layer is touched.
        factor: (U,) by which their scales grew; 1 where weights were only rounded again.
        weights_changed: integers that differ from the file's.
        sqnr: dB of the layer's sums with all its repaired weights against those of the file; infinite if
            they are equal.
        sqnr_seven_bits: the same for 7-bit weights everywhere in the layer, which ``reduce_range`` gives.
        measured: both are about data; otherwise about operands as ``metric.assumed`` has them.
    """

    node: str
    outputs: int
    terms: int
    changed: NDArray[np.intp]
    factor: NDArray[np.float64]
    weights_changed: int
    sqnr: float
    sqnr_seven_bits: float
    measured: bool

    @property
    def rounded(self) -> int:
        """Outputs that kept their scale."""
        return int(np.count_nonzero(self.factor == 1))

    @property
    def rescaled(self) -> int:
        """Outputs that got a coarser one."""
        return len(self.factor) - self.rounded

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "node": self.node,
            "outputs": self.outputs,
            "terms": self.terms,
            "changed": self.changed.tolist(),
            "factor": self.factor.tolist(),
            "rounded": self.rounded,
            "rescaled": self.rescaled,
            "weights_changed": self.weights_changed,
            "sqnr": _finite(self.sqnr),
            "sqnr_seven_bits": _finite(self.sqnr_seven_bits),
            "measured": self.measured,
        }


@dataclass(frozen=True, eq=False)
class Repaired:
    """A file that is proved safe on one register model.

    Attributes:
        content: the file; the bytes that were read if nothing had to be changed.
        layers: that were changed, in execution order.
        before, after: what the doctor says of the file as it was, and of ``content``, read again.
        notes: what a user should know.
        folder: where constants outside the file lie; None if there are none.
    """

    content: bytes
    layers: tuple[LayerRepair, ...]
    before: Diagnosis
    after: Diagnosis
    notes: tuple[str, ...] = field(default=())
    folder: Path | None = None

    @property
    def was_safe(self) -> bool:
        """Nothing had to be changed."""
        return not self.layers

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            FormatError: it cannot be written, or its constants outside would not be found from there.
        """
        if self.folder is not None and Path(path).resolve().parent != self.folder.resolve():
            raise FormatError(
                f"{path}: the model keeps constants in other files of {self.folder}, so it must be written there too"
            )
        write_atomically(path, [self.content])

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; ``schema`` says which version."""
        return {
            "schema": SCHEMA,
            "program": self.before.program,
            "registers": list(self.before.deciding),
            "was_safe": self.was_safe,
            "safe": self.after.is_safe,
            "unsafe_layers_before": sum(len(self.before.unsafe(name)) for name in self.before.deciding),
            "layers": [layer.to_json() for layer in self.layers],
            "notes": list(self.notes),
        }


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return None if isinf(value) else value
