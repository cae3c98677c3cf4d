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
    """Whether a matrix row reads the windows of a convolution as they lie; x and y are (height, width, channels)."""

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

class Session:
    """A network ready to run: steps in order, one arena, threads."""

    def __init__(self, arena_bytes: int, threads: int) -> None: ...
    def conv2d(
        self,
        row: str,
        x: tuple[int, tuple[int, int, int]],
        y: tuple[int, tuple[int, int, int]],
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        packed: Annotated[NDArray[numpy.int8], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
        segments: Annotated[NDArray[numpy.int32], dict(shape=(None, 3), order="C", device="cpu", writable=False)],
        bias: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        requant: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)]
        | tuple[
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        ],
        x_zero_point: int,
        y_zero_point: int,
        clamp: Sequence[int],
    ) -> None: ...
    def depthwise(
        self,
        row: str,
        x: tuple[int, tuple[int, int, int]],
        y: tuple[int, tuple[int, int, int]],
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        packed: Annotated[NDArray[numpy.int8], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
        segments: Annotated[NDArray[numpy.int32], dict(shape=(None, 3), order="C", device="cpu", writable=False)],
        bias: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        requant: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)]
        | tuple[
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        ],
        x_zero_point: int,
        y_zero_point: int,
        clamp: Sequence[int],
    ) -> None: ...
    def add(
        self,
        row: str,
        a: tuple[int, tuple[int, int, int]],
        b: tuple[int, tuple[int, int, int]],
        y: tuple[int, tuple[int, int, int]],
        requant: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)]
        | tuple[
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        ],
        a_zero_point: int,
        b_zero_point: int,
        y_zero_point: int,
        clamp: Sequence[int],
    ) -> None: ...
    def mul(
        self,
        row: str,
        a: tuple[int, tuple[int, int, int]],
        b: tuple[int, tuple[int, int, int]],
        y: tuple[int, tuple[int, int, int]],
        requant: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)]
        | tuple[
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        ],
        a_zero_point: int,
        b_zero_point: int,
        y_zero_point: int,
        clamp: Sequence[int],
    ) -> None: ...
    def concat(
        self,
        row: str,
        x: Sequence[tuple[int, tuple[int, int, int]]],
        y: tuple[int, tuple[int, int, int]],
        requant: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)]
        | tuple[
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        ],
        x_zero_points: Sequence[int],
        y_zero_point: int,
        clamp: Sequence[int],
    ) -> None: ...
    def lookup(
        self,
        row: str,
        x: tuple[int, tuple[int, int, int]],
        y: tuple[int, tuple[int, int, int]],
        table: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order="C", device="cpu", writable=False)],
    ) -> None: ...
    def max_pool(
        self,
        row: str,
        x: tuple[int, tuple[int, int, int]],
        y: tuple[int, tuple[int, int, int]],
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        clamp: Sequence[int],
    ) -> None: ...
    def avg_pool(
        self,
        row: str,
        x: tuple[int, tuple[int, int, int]],
        y: tuple[int, tuple[int, int, int]],
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        count_include_pad: bool,
        requant: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)]
        | tuple[
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        ],
        x_zero_point: int,
        y_zero_point: int,
        clamp: Sequence[int],
    ) -> None: ...
    def global_avg_pool(
        self,
        row: str,
        x: tuple[int, tuple[int, int, int]],
        y: tuple[int, tuple[int, int, int]],
        requant: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)]
        | tuple[
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
            Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        ],
        x_zero_point: int,
        y_zero_point: int,
        clamp: Sequence[int],
    ) -> None: ...
    def copy(self, row: str, x: tuple[int, tuple[int, int, int]], y: tuple[int, tuple[int, int, int]]) -> None: ...
    def pad(
        self,
        row: str,
        x: tuple[int, tuple[int, int, int]],
        y: tuple[int, tuple[int, int, int]],
        padding: Sequence[int],
        zero_point: int,
    ) -> None: ...
    def slice(
        self,
        row: str,
        x: tuple[int, tuple[int, int, int]],
        y: tuple[int, tuple[int, int, int]],
        begin: Sequence[int],
        end: Sequence[int],
    ) -> None: ...
    def resize(
        self, row: str, x: tuple[int, tuple[int, int, int]], y: tuple[int, tuple[int, int, int]], mode: str
    ) -> None: ...
    def depth_to_space(
        self, row: str, x: tuple[int, tuple[int, int, int]], y: tuple[int, tuple[int, int, int]], block: int, mode: str
    ) -> None: ...
    def finish(
        self, inputs: Sequence[tuple[int, tuple[int, int, int]]], outputs: Sequence[tuple[int, tuple[int, int, int]]]
    ) -> None:
        """No more steps; names the tensors that callers fill and read."""

    def memory(self) -> list[tuple[int, int]]:
        """Of each step: bytes of weights, bytes of scratch in every thread."""

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

    def profile(self) -> list[int]:
        """Nanoseconds of each step in the last run."""
