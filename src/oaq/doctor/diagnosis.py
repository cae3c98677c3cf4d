"""What the doctor found: values, and the same as plain numbers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.doctor.registers import RegisterModel
from oaq.errors import AccumulatorOverflow
from oaq.numerics.formats import S32
from oaq.numerics.ranges import IntRange

SCHEMA: Final = 1
Ints = NDArray[np.int64]


def signed_bits(lo: Ints, hi: Ints) -> Ints:
    """(N,) bits of the narrowest two's complement register that holds each [lo, hi]."""
    return np.array([IntRange(int(a), int(b)).signed_bits for a, b in zip(lo, hi, strict=True)], np.int64)


@dataclass(frozen=True, eq=False)
class Seen:
    """What data did to one layer's registers: evidence, true of that data only.

    Watched are the registers that are not proved; of a register that is, nothing needs to be seen.

    Attributes:
        lo, hi: (N,) least and most that any watched sum reached; 0, 0 where nothing was watched.
        overflows: (N,) how many sums left their register.
        by_sample: (S,) the same by sample, over all outputs.
        watched: sums looked at altogether.
        worst: (sample, output) of the sum that came furthest out of its register, or nearest to leaving.
    """

    lo: Ints
    hi: Ints
    overflows: Ints
    by_sample: Ints
    watched: int
    worst: tuple[int, int] | None

    @property
    def reached(self) -> IntRange:
        """Least and most of all outputs."""
        return IntRange(int(self.lo.min()), int(self.hi.max()))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "lo": self.lo.tolist(),
            "hi": self.hi.tolist(),
            "overflows": self.overflows.tolist(),
            "by_sample": self.by_sample.tolist(),
            "watched": self.watched,
            "worst": None if self.worst is None else list(self.worst),
        }


@dataclass(frozen=True, eq=False)
class LayerVerdict:
    """One layer on one register model, for every input.

    Attributes:
        register: what its registers hold.
        lo, hi: (N,) least and most any register of that output can be asked to hold.
        safe: (N,) it fits, for every input, in every order the model knows, and so does ``total`` in 32 bits.
        bits: (N,) bits of the narrowest register that would do.
        runs: (N,) fewest runs that make lanes fit where the kernel spills between them (1: none needed); -1: no
            spilling helps, because one instruction's own sum does not fit.
        unsafe_by_order: outputs whose registers can be left, by order of the products.
        total: (N,) least and (N,) most of the 32-bit register behind, which holds the whole sum and the bias.
        why: what is wrong besides sums ("operands reach 255, the instruction takes 0..127"); empty if nothing.
        note: why another register than the model's is taken; empty if it is the model's.
        seen: on data, if there was any.
    """

    register: IntRange
    lo: Ints
    hi: Ints
    safe: NDArray[np.bool_]
    bits: Ints
    runs: Ints
    unsafe_by_order: Mapping[str, int]
    total: tuple[Ints, Ints]
    why: str = ""
    note: str = ""
    seen: Seen | None = None

    @property
    def is_safe(self) -> bool:
        """Every output is."""
        return bool(self.safe.all())

    @property
    def unsafe(self) -> Ints:
        """Which outputs are not."""
        return np.nonzero(~self.safe)[0]

    @property
    def total_safe(self) -> NDArray[np.bool_]:
        """(N,) the 32-bit register behind holds the whole sum and the bias."""
        return (self.total[0] >= S32.lo) & (self.total[1] <= S32.hi)

    @property
    def leaves_total_only(self) -> bool:
        """Whatever is unsafe is so in the 32 bits behind; no register before them is ever left."""
        narrow = (self.lo >= self.register.lo) & (self.hi <= self.register.hi)
        return not self.why and bool(narrow.all()) and not self.is_safe

    @property
    def asked(self) -> tuple[IntRange, Ints, Ints]:
        """The register that decides, with (N,) least and (N,) most it can be asked to hold."""
        return (S32, *self.total) if self.leaves_total_only else (self.register, self.lo, self.hi)

    @property
    def bits_needed(self) -> Ints:
        """(N,) bits of the narrowest register of that kind that would do."""
        return signed_bits(*self.total) if self.leaves_total_only else self.bits

    @property
    def worst(self) -> int:
        """The output whose register is asked for most."""
        _, lo, hi = self.asked
        return int(np.argmax(np.maximum(hi, -1 - lo)))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        document: dict[str, Any] = {
            "safe": self.is_safe,
            "unsafe_outputs": self.unsafe.tolist(),
            "unsafe_by_order": dict(self.unsafe_by_order),
            "worst_output": self.worst,
            "register": [self.register.lo, self.register.hi],
            "bits": self.bits.tolist(),
            "lo": self.lo.tolist(),
            "hi": self.hi.tolist(),
            "runs": self.runs.tolist(),
            "total": {
                "safe": bool(self.total_safe.all()),
                "lo": self.total[0].tolist(),
                "hi": self.total[1].tolist(),
            },
            "why": self.why,
            "note": self.note,
        }
        if self.seen is not None:
            document["observed"] = self.seen.to_json()
        return document


@dataclass(frozen=True, eq=False)
class LayerDiagnosis:
    """One layer that sums products.

    Attributes:
        node: its name.
        kind: operator, in words ("Conv2d 3x3", "Depthwise 5x5", "Linear").
        outputs: N.
        terms: K.
        verdicts: by register model.
    """

    node: str
    kind: str
    outputs: int
    terms: int
    verdicts: Mapping[str, LayerVerdict]


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Where a program breaks, on which registers.

    Attributes:
        program: its name.
        registers: the models asked about.
        deciding: names of those that decide whether it is safe: all that were asked for by name, else what runtimes
            use today.
        layers: in execution order.
        samples: how many samples of data were run; 0 is none.
        islands: parts of the model that stay in float: nothing is said about them.
        notes: what else a reader should know.
        condition: the set of inputs that was asked about, in words; "" is every input.
    """

    program: str
    registers: tuple[RegisterModel, ...]
    deciding: tuple[str, ...]
    layers: tuple[LayerDiagnosis, ...]
    samples: int = 0
    islands: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    condition: str = ""

    @property
    def covered(self) -> str:
        """For which inputs a verdict is proved."""
        return f"every input of the set ({self.condition})" if self.condition else "every input"

    def __getitem__(self, node: str) -> LayerDiagnosis:
        for layer in self.layers:
            if layer.node == node:
                return layer
        raise KeyError(node)

    @property
    def is_safe(self) -> bool:
        """Every layer is proved on every deciding register."""
        return not any(self.unsafe(name) for name in self.deciding)

    def unsafe(self, register: str) -> tuple[LayerDiagnosis, ...]:
        """The layers that register is not proved for, worst first: most bits, then the largest part of outputs."""
        unsafe_layers = [layer for layer in self.layers if not layer.verdicts[register].is_safe]
        return tuple(sorted(unsafe_layers, key=lambda layer: _badness(layer.verdicts[register]), reverse=True))

    def raise_if_unsafe(self) -> None:
        """Turn the worst layer into an error.

        Raises:
            AccumulatorOverflow: a layer is not proved on a deciding register.
        """
        for name in self.deciding:
            for layer in self.unsafe(name):
                hint = f"Asked about {self.covered}" if self.condition else advice(layer, name)
                raise AccumulatorOverflow(f"{sentence(layer, name)}.\n{hint}")

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; ``schema`` says which version."""
        return {
            "schema": SCHEMA,
            "program": self.program,
            **({"set": self.condition} if self.condition else {}),
            "safe": self.is_safe,
            "deciding": list(self.deciding),
            "registers": [
                {
                    **register.to_json(),
                    "safe": not self.unsafe(register.name),
                    "unsafe_layers": len(self.unsafe(register.name)),
                }
                for register in self.registers
            ],
            "samples": self.samples,
            "islands": list(self.islands),
            "notes": list(self.notes),
            "layers": [
                {
                    "node": layer.node,
                    "kind": layer.kind,
                    "outputs": layer.outputs,
                    "terms": layer.terms,
                    "verdicts": {name: verdict.to_json() for name, verdict in layer.verdicts.items()},
                }
                for layer in self.layers
            ],
        }


def sentence(layer: LayerDiagnosis, register: str) -> str:
    """What, where, which numbers."""
    verdict = layer.verdicts[register]
    if verdict.is_safe:
        return f"{layer.node}: safe on {register} for every input"
    if verdict.why:
        return f"{layer.node}: unsafe on {register}: {verdict.why}"
    at, (register_range, lo, hi) = verdict.worst, verdict.asked
    behind = " (behind the narrow ones, bias included)" if verdict.leaves_total_only else ""
    return (
        f"{layer.node}: {len(verdict.unsafe)} of {layer.outputs} outputs are unsafe on {register}; output {at} needs "
        f"{verdict.bits_needed[at]} bits: a register of [{register_range.lo}, {register_range.hi}]{behind} can be "
        f"asked to hold [{lo[at]}, {hi[at]}]"
    )


def advice(layer: LayerDiagnosis, register: str, model: str = "MODEL") -> str:
    """What to do about an unsafe layer, as commands on the file ``model``; only those that can help."""
    verdict = layer.verdicts[register]
    if verdict.why:
        return "Activations of fewer bits are defined there: quantize again with a narrower range"
    file, name, place = shlex.quote(model), shlex.quote(register), shlex.quote(f"{layer.node}:{verdict.worst}")
    show = f"Show an input that does it: oaq witness {file} --registers {name} --at {place}"
    if model.lower().endswith((".oaq", ".tflite")):
        return show
    return f"{show}; change the weights so that it cannot: oaq repair {file} --registers {name} --out FIXED.onnx"


def _badness(verdict: LayerVerdict) -> tuple[int, float]:
    return int(verdict.bits_needed.max()), float(np.mean(~verdict.safe))
