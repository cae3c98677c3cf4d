"""Native kernels of oaq."""

from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray

def kernel_table() -> list:
    """Every row compiled in: its contract, and whether this CPU runs it."""

def dynamic_table() -> list:
    """Rows of dynamic layers besides those of the table."""

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

def border_regions(
    tile_m: int,
    x: Sequence[int],
    y: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[list[int]]:
    """
    Parts of outputs whose windows see the image alike: (lines, columns, lines and columns of the window that see it).
    """

def build_info() -> dict:
    """Compiler, flags and sanitizer of this module."""

def quantize(
    real: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
    q: Annotated[NDArray[numpy.uint8], dict(shape=(None, None, None), order="C", device="cpu")],
    scale: float,
    zero_point: int,
    clamp: Sequence[int],
    isa: str = "",
) -> bool:
    """Real values to integers, channels made innermost; False if one is NaN."""

def dequantize(
    q: Annotated[NDArray[numpy.uint8], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
    real: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order="C", device="cpu")],
    scale: float,
    zero_point: int,
    isa: str = "",
) -> None:
    """Integers, channels innermost, to real values, channels outermost."""

def word_multiplier(scale: float, zero_point: int, clamp: Sequence[int]) -> int:
    """In parts of 2^-15, if results leave in 16 bits; else 0."""

class PlanError(ValueError):
    pass

class MemoryExceeded(MemoryError):
    pass

class Session:
    """A plan's bytes, loaded and ready to run."""

    def __init__(self, plan: bytes, threads: int, memory_limit: int, chunks: int = 0) -> None: ...
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

    def stages(self) -> list[list[int]]:
        """Steps that threads compute side by side, stage by stage."""

    def memory(self) -> list[int]:
        """
        Bytes: of a sample's tensors, as many samples as fit at once, of weights, of scratch in every thread.
        """

    def profile(self) -> list[int]:
        """Nanoseconds of each step in the last run."""

class Quantization:
    """How reals become u8 as they come."""

    def __init__(self, law: str, scale: float = 1.0, zero_point: int = 0) -> None: ...

class Product:
    """int8 weights that multiply u8 rows of any scale and leave reals."""

    def __init__(
        self,
        row: str,
        terms: int,
        packed: Annotated[NDArray[numpy.int8], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
        segments: Sequence[int],
        column_sum: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        weight_zero: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        scale: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        bias: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    ) -> None: ...

def run_products(
    products: Sequence[Product],
    x: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    y: Sequence[Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")]],
    quantization: Quantization,
    threads: int,
) -> int:
    """
    Quantize rows of reals and multiply them; a row without a scale, or -1.
    """

def run_quantized(
    products: Sequence[Product],
    q: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    scale: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    zero: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    y: Sequence[Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")]],
    threads: int,
) -> None:
    """Multiply rows that are quantized already."""

def quantize_rows(
    x: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    q: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order="C", device="cpu")],
    scale: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu")],
    zero: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu")],
    quantization: Quantization,
    isa: str,
) -> int:
    """Quantize rows of reals; a row without a scale, or -1."""

def normalize_rows(
    x: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    other: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)] | None,
    gain: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    bias: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)] | None,
    epsilon: float,
    sum: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")] | None,
    y: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")],
    scaled_gain: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)] | None,
    scaled_bias: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)] | None,
    scaled: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")] | None,
    isa: str,
    threads: int,
) -> None:
    """
    Layer normalization of x + other along the last axis, in float; again with another gain and bias.
    """

def gelu(
    x: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    factor: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)] | None,
    y: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")],
    isa: str,
    threads: int,
) -> None:
    """
    GELU: x times the part of a standard normal below x, times a factor of each column, in float.
    """

def attention(
    q: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
    k: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
    v: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
    heads: int,
    scale: float,
    shift: Annotated[
        NDArray[numpy.float32], dict(shape=(None, None, None, None), order="C", device="cpu", writable=False)
    ]
    | None,
    factor: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)] | None,
    y: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order="C", device="cpu")],
    isa: str,
    threads: int,
) -> None:
    """
    Attention: softmax(scale * q k' + shift) v of every head, in float; (batch, rows, heads * columns).
    """
