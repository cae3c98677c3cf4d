"""Native kernels of oaq."""

from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray

def kernel_table() -> list:
    """Every row compiled in: its contract, and whether this CPU runs it."""

def cpu_isas() -> list[str]:
    """The instruction sets this CPU runs, each after those that it includes."""

def reads_lines(
    row: str,
    x: Sequence[int],
    y: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> bool:
    """
    Whether a matrix row reads the windows of a convolution as they lie; x and y are (height, width, channels).
    """

def build_info() -> dict:
    """Compiler, flags and sanitizer of this module."""

def quantize(
    real: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
    q: Annotated[NDArray[numpy.uint8], dict(shape=(None, None, None), order="C", device="cpu")],
    scale: float,
    zero_point: int,
    clamp: Sequence[int],
) -> bool:
    """Real values to integers, channels made innermost; False if one is NaN."""

def word_multiplier(scale: float, hi: int) -> int:
    """In parts of 2^-15, if results leave in 16 bits; else 0."""

class PlanError(ValueError):
    pass

class MemoryExceeded(MemoryError):
    pass

class Session:
    """A plan's bytes, loaded and ready to run."""

    def __init__(self, plan: bytes, threads: int, memory_limit: int) -> None: ...
    @property
    def threads(self) -> int: ...
    def run(
        self,
        inputs: Sequence[Annotated[NDArray[numpy.uint8], dict(order="C", device="cpu", writable=False)]],
        outputs: Sequence[Annotated[NDArray[numpy.uint8], dict(order="C", device="cpu")]],
    ) -> None:
        """Run a batch: u8 arrays (batch, ...), inputs read, outputs written."""

    def choices(self) -> list[tuple[str, list[int]]]:
        """Of each step: how it finds operands; tiles that leave by each way."""

    def memory(self) -> list[int]:
        """Bytes of tensors, of weights, and of scratch in every thread."""

    def profile(self) -> list[int]:
        """Nanoseconds of each step in the last run."""
