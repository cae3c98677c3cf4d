"""Trained jet taggers of hls4ml: weights without data, so proofs, runs and bit operations, and no accuracy.

    pip download --no-deps --no-binary hls4ml hls4ml==1.3.0
    python -m recipes.pruning taggers --archive hls4ml-1.3.0.tar.gz

pip builds a source archive to learn its name, so that it is fetched by hand. Weights are Keras files: h5py reads them.
"""

from __future__ import annotations

import io
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from oaq.doctor.diagnose import diagnose
from oaq.errors import FormatError
from oaq.overflow.analyze import analyze
from oaq.program.int_program import IntProgram
from oaq.qat import Config, LayerRule, convert, prepare
from recipes.data.packages import FetchError, Package, fetch
from recipes.data.registries import tar_members
from recipes.ledger import Ledger, Row
from recipes.pruning.curves import row
from recipes.pruning.networks import INPUT_BITS, Point, integer_point

HLS4ML: Final = Package(
    "hls4ml",
    "1.3.0",
    "hls4ml-1.3.0.tar.gz",
    "bb231fe0ed1e8dbca2b353dafc3ccb96a5bf9c6a14cd6ff13bb7606407e834ae",
    10_199_823,
)
FOLDER: Final = "hls4ml-1.3.0/example-models/keras"
TAGGERS: Final = {"dense": "KERAS_3layer_weights.h5", "70 % pruned": "KERAS_3layer_70pruned_retrained_weights.h5"}
SIZES: Final = (16, 64, 32, 32, 5)
DOCTOR: Final = ("avx2-acc32", "avx2-acc16")
"""Register models that the doctor is asked about: saturating pairs, and 16-bit lanes without a spill."""
SAMPLES: Final = 2048
"""Rows of standard normal numbers: what standardised inputs are, all that is known of them here."""


def weights(archive: Path | None) -> dict[str, nn.Sequential]:
    """The taggers by name.

    Raises:
        FetchError: the archive is not there, or is another.
        FormatError: a file of it does not hold the tagger.
    """
    content = tar_members(_archive(archive), [f"{FOLDER}/{file}" for file in TAGGERS.values()])
    return {name: _read(content[f"{FOLDER}/{file}"], file) for name, file in TAGGERS.items()}


def _archive(archive: Path | None) -> Path:
    if archive is not None:
        if not archive.is_file():
            raise FetchError(f"{archive}: no such file")
        return archive

    def refuse(package: Package, _folder: Path) -> None:
        raise FetchError(
            f"{package}: the source archive is needed: pip download --no-deps --no-binary hls4ml hls4ml==1.3.0, "
            f"then: python -m recipes.pruning taggers --archive {package.file}"
        )

    return fetch(HLS4ML, refuse)


def _read(content: bytes, name: str) -> nn.Sequential:
    """The layers of a Keras file, in the order of their sizes."""
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise FormatError(f"{name}: is read by h5py, which is not installed: pip install h5py") from error
    arrays = dict[str, np.ndarray]()
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            file.visititems(
                lambda path, item: arrays.update({path: np.array(item)}) if isinstance(item, h5py.Dataset) else None
            )
    except OSError as error:
        raise FormatError(f"{name}: is not a Keras file: {error}") from error
    kernels = [arrays[path] for path in sorted(arrays) if path.endswith("kernel:0")]
    biases = [arrays[path] for path in sorted(arrays) if path.endswith("bias:0")]
    shapes = [(before, after) for before, after in pairwise(SIZES)]
    if [kernel.shape for kernel in kernels] != shapes or [bias.shape for bias in biases] != [s[1:] for s in shapes]:
        raise FormatError(f"{name}: holds layers of {[kernel.shape for kernel in kernels]}, not {shapes}")
    layers = list[nn.Module]()
    for kernel, bias in zip(kernels, biases, strict=True):
        layer = nn.Linear(*kernel.shape)
        layer.load_state_dict({"weight": torch.from_numpy(kernel.T.copy()), "bias": torch.from_numpy(bias)})
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def tagger(net: nn.Sequential, name: str, bits: int) -> tuple[IntProgram, Point]:
    """Integers of so many bits, quantized after training on random rows, and what they cost."""
    x = torch.randn(SAMPLES, SIZES[0], generator=torch.Generator().manual_seed(0))
    first = LayerRule("0", activation_bits=INPUT_BITS)
    config = Config("none", bits, bits, layers=(first,), first_last_bits=None)
    program = convert(prepare(net, x[:1], config, calibration=list(x.split(256)), name=f"{name}-{bits}"))
    return program, integer_point(program, float("nan"))


def add_taggers(archive: Path | None, ledger: Ledger) -> None:
    """A row for each tagger and number of bits."""
    for name, net in weights(archive).items():
        for bits in (8, 6, 4):
            ledger.row((name, str(bits)), partial(_row, net, name, bits))


def _row(net: nn.Sequential, name: str, bits: int) -> Row:
    program, point = tagger(net, name, bits)
    layers = diagnose(program, DOCTOR).layers
    unsafe = [sum(not layer.verdicts[model].is_safe for layer in layers) for model in DOCTOR]
    most = max(proof.bits for proof in (analyze(program)[node.name] for node in program.summing_nodes()))
    cells = [cell for cell in row([point]) if cell[0] not in ("accuracy, %", "neural efficiency")]
    doctor = tuple((f"unsafe on {model}", str(count)) for model, count in zip(DOCTOR, unsafe, strict=True))
    return (*cells, ("bits of the widest sum", str(most)), *doctor)
