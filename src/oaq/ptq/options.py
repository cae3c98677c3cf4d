"""How to quantize."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from oaq.errors import CalibrationError
from oaq.kernels.targets import DEFAULT_TARGET, TARGETS, KernelTarget
from oaq.numerics.requantize import SEMANTICS, Semantics
from oaq.ptq.clip import CALIBRATIONS, ClipMethod
from oaq.ptq.daq import Daq
from oaq.ptq.pieces import FORMS, Piecewise, WeightForm
from oaq.ptq.rounding import ROUNDINGS, Rounding
from oaq.ptq.uniform import Uniform

DEFAULT_BUDGET: Final = 1.02
"""Below it the error of networks begins to rise steeply: docs/decisions/0011, in the unit of 0019."""


@dataclass(frozen=True)
class Options:
    """How to quantize; the defaults are what ``oaq.quantize`` does.

    Attributes:
        budget: predicted cost allowed, as a multiple of the same network summed in 16 bits without any spill; 1.0: no
            spill at all; None: every layer W8A8 whatever it costs.
        calibration: "mse", "minmax", "percentile" or "entropy": how a tensor's real range is chosen.
        equalize: bring the channels of a tensor to like size first, where the network allows it.
        across_functions: the same on both sides of functions of one value, which then have a table for each channel;
            with ``equalize=False`` only before functions, which changes no column of a weight.
        correct_bias: take back what rounding weights does to the mean of each channel.
        rounding: of weights: "axe" (error feedback inside the budgets of the accumulators), "adaround" (learned, takes
            longer) or "nearest", which looks at no data.
        informed_terms: layers that sum more products than this round to nearest, whatever ``rounding`` says. Where
            calibration shows fewer positions than a sum has operands, error feedback has little to learn from, and
            takes most of the time. None: every layer looks at data.
        uniform: the same bits in every layer and an accumulator that all keep, instead of a budget.
        daq: few levels for each channel that chosen layers read, placed by its distribution, instead of a budget; all
            other layers keep 8 bits.
        requantize: the semantics of the program.
        target: the instruction set whose rows the budget is counted on, by name: "avx2", "avx512bw", "vnni",
            "avxvnni", "neon", "dotprod" or "i8mm", whatever machine quantizes. On "vnni", "avxvnni", "dotprod" and
            "i8mm", sums of 32 bits cost nothing: a budget buys nothing there, and every layer keeps 8 bits. Pages run
            "wasm" (SIMD128) everywhere and "wasm-relaxed" where there is relaxed SIMD: its operands have 7 bits.
        weights: "uniform": integers of int8, or of the bits of ``uniform``; "piecewise": of a codebook, 4 bits or the
            bits of ``uniform``; a ``Piecewise`` says which bits, and which layers differ.
    """

    budget: float | None = DEFAULT_BUDGET
    calibration: ClipMethod = "mse"
    equalize: bool = True
    across_functions: bool = False
    correct_bias: bool = True
    rounding: Rounding = "axe"
    informed_terms: int | None = None
    uniform: Uniform | None = None
    daq: Daq | None = None
    requantize: Semantics = "float32_half_even"
    target: str = DEFAULT_TARGET
    weights: WeightForm | Piecewise = "uniform"

    def __post_init__(self) -> None:
        if self.budget is not None and not (1.0 <= self.budget < float("inf")):
            raise CalibrationError(
                "a budget is at least 1.0 (16-bit sums without a spill), or None for 8 bits everywhere; not "
                f"{self.budget!r}"
            )
        if self.daq is not None and (self.uniform is not None or self.weights != "uniform"):
            raise CalibrationError("daq says what bits layers and their weights have: leave uniform and weights out")
        if self.calibration not in CALIBRATIONS:
            raise CalibrationError(f"calibration is one of {', '.join(CALIBRATIONS)}, not {self.calibration!r}")
        if self.rounding not in ROUNDINGS:
            raise CalibrationError(f"rounding is one of {', '.join(ROUNDINGS)}, not {self.rounding!r}")
        if self.informed_terms is not None and self.informed_terms < 0:
            raise CalibrationError(f"informed_terms is a number of products, not {self.informed_terms}")
        if self.requantize not in SEMANTICS:
            raise CalibrationError(f"requantize is one of {', '.join(SEMANTICS)}, not {self.requantize!r}")
        if self.target not in TARGETS:
            raise CalibrationError(f"target is one of {', '.join(TARGETS)}, not {self.target!r}")
        if not isinstance(self.weights, Piecewise) and self.weights not in FORMS:
            raise CalibrationError(f"weights is one of {', '.join(FORMS)}, or a Piecewise; not {self.weights!r}")
        if self.uniform is not None and isinstance(self.weights, Piecewise) and self.uniform.weight_bits < 8:
            raise CalibrationError(
                f"both {self.uniform} and {self.weights} say bits of weights; leave one of them at its default"
            )
        _ = self.pieces  # bits of ``uniform`` that no codebook has

    @property
    def pieces(self) -> Piecewise | None:
        """The codebooks of weights; None for uniform ones."""
        if isinstance(self.weights, Piecewise):
            return self.weights
        if self.weights == "uniform":
            return None
        if self.uniform is None:
            return Piecewise()
        return Piecewise(self.uniform.weight_bits, self.uniform.first_last_bits)

    @property
    def kernels(self) -> KernelTarget:
        """The rows the network is quantized for."""
        return TARGETS[self.target]

    @property
    def by_hand(self) -> Uniform | Daq | None:
        """What says bits instead of a budget."""
        return self.uniform or self.daq

    @property
    def allowed(self) -> float | None:
        """The budget that counts: None where narrow sums are no faster, so that a budget buys nothing."""
        return self.budget if self.kernels.is_narrow else None

    @property
    def note(self) -> str | None:
        """What the caller of a budget should know: that it buys nothing."""
        if self.kernels.is_narrow:
            return None
        return f"target {self.target} sums in 32 bits at no cost: a budget buys nothing, every layer keeps 8 bits"
