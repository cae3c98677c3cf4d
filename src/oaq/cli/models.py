"""MODEL on the command line: a Python file, a module, an exported .pt2 file, or an ONNX or TFLite file in float."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import typing
from pathlib import Path

from oaq.cli import images
from oaq.data.batches import ARRAYS, files
from oaq.errors import CalibrationError, FormatError

if typing.TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    import torch

    from oaq.capture.graph import FloatGraph
    from oaq.data.preprocess import Preprocess

TFLITE = ".tflite"
HELP = """\
FILE.py:NAME or package.module:NAME, where NAME is a torch.nn.Module
or a callable without arguments that returns one (its code is executed); or
FILE.pt2 written by torch.export.save; or FILE.onnx or FILE.tflite that
computes in float"""


def load(spec: str) -> torch.nn.Module | Path:
    """The module that ``spec`` names, in eval mode; the path of an ONNX or TFLite file, which ``capture`` reads.

    Raises:
        FormatError: there is no such file, module or name, or it is not a ``torch.nn.Module``.
        ModuleNotFoundError: torch is not installed.
    """
    import torch

    if spec.lower().endswith((".onnx", TFLITE)):
        if not Path(spec).is_file():
            raise FormatError(f"{spec}: no such file")
        return Path(spec)
    if spec.endswith(".pt2"):
        return _load_exported(Path(spec))
    place, colon, name = spec.rpartition(":")
    if not colon or not name:
        raise FormatError(f"{spec!r} does not name a model: write {HELP}")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    try:
        attribute = getattr(module, name)
    except AttributeError as error:
        raise FormatError(f"{place}: does not define {name!r}") from error
    network = attribute() if callable(attribute) and not isinstance(attribute, torch.nn.Module) else attribute
    if not isinstance(network, torch.nn.Module):
        raise FormatError(
            f"{spec}: is a {type(network).__name__}, not a torch.nn.Module or a callable that returns one"
        )
    return network.eval()


def with_samples(
    arguments: argparse.Namespace, recorded: Preprocess | None = None
) -> tuple[torch.nn.Module | Path, list[Path], Preprocess]:
    """MODEL as ``load`` has it, the files of --calibrate, and how photos among them are prepared.

    Args:
        arguments: of the command line.
        recorded: how photos are prepared where no flag says otherwise.

    Raises:
        CalibrationError: there is no sample, or photos would be grey for a network of colours.
        FormatError: as ``load``.
    """
    model = load(arguments.model)
    paths = files(arguments.calibrate)[: max(arguments.limit, 0)]
    if not paths or arguments.batch < 1:
        raise CalibrationError(f"--limit {arguments.limit} and --batch {arguments.batch} are at least 1")
    preprocessing = images.preprocess(arguments, recorded, photo_size(model))
    check_channels(model, paths, preprocessing)
    return model, paths, preprocessing


def photo_size(net: torch.nn.Module | Path) -> tuple[int, int]:
    """Rows and columns that a network takes: an ONNX file may say it, otherwise 224 x 224."""
    if isinstance(net, Path):
        for _, *sizes in _declared_inputs(net).values():
            for channels, rows, columns in (sizes, (sizes[-1], *sizes[:-1])) if len(sizes) == 3 else ():
                if channels in (1, 3) and isinstance(rows, int) and isinstance(columns, int):
                    return rows, columns
    return 224, 224


def sample_axes(net: torch.nn.Module | Path) -> int | None:
    """Axes of one sample: an ONNX file says it, a module by its first convolution; None if nothing does."""
    if isinstance(net, Path):
        shapes = list(_declared_inputs(net).values())
        return len(shapes[0]) - 1 if len(shapes) == 1 and len(shapes[0]) > 1 else None
    import torch

    for module in net.modules():
        if isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d):
            return 2 if isinstance(module, torch.nn.Conv1d) else 3
    return None


def input_channels(net: torch.nn.Module | Path) -> int | None:
    """Channels of the images a network reads, by its file or its first convolution; None if nothing says it."""
    if isinstance(net, Path):
        shapes = list(_declared_inputs(net).values())
        if len(shapes) != 1 or len(shapes[0]) != 4:
            return None
        ends = shapes[0][1], shapes[0][3]
        return next((size for size in ends if isinstance(size, int) and size in (1, 3)), None)
    import torch

    first = next((module for module in net.modules() if isinstance(module, torch.nn.Conv2d)), None)
    return None if first is None else first.in_channels


def needs_arrays(path: Path) -> bool:
    """Whether a file takes several inputs, or whole numbers: what one array of reals per sample does not give."""
    from oaq.mixed.load import read_onnx

    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    inputs = read_onnx(path).inputs
    return len(inputs) != 1 or inputs[0].dtype not in ("float32", "float16", "float64")


def check_channels(model: torch.nn.Module | Path, paths: Sequence[Path], preprocessing: Preprocess) -> None:
    """Refuse grey photos for a network of colours, which one number for --mean or --std makes of them.

    Raises:
        CalibrationError: the network reads three channels and photos would be grey.
    """
    photos = any(path.suffix.lower() not in ARRAYS for path in paths)
    if photos and len(preprocessing.mean) == 1 and input_channels(model) == 3:
        mean, std = preprocessing.mean[0], preprocessing.std[0]
        raise CalibrationError(
            f"the network reads 3 channels, and --mean {mean:g} --std {std:g} makes photos grey: one number is one "
            f"channel. Write three: --mean {mean:g},{mean:g},{mean:g} --std {std:g},{std:g},{std:g}"
        )


def _declared_inputs(path: Path) -> Mapping[str, Sequence[int | str]]:
    """Shapes of a file's inputs, batch included; names where the file leaves a size open."""
    if path.suffix.lower() == TFLITE:
        from oaq.capture.from_float_tflite import declared_inputs

        return declared_inputs(path)
    from oaq.capture.from_onnx import declared_inputs

    return declared_inputs(path)


def capture(path: Path, sample: Sequence[int]) -> FloatGraph:
    """The network in an ONNX or TFLite file that has one input.

    Args:
        path: of the file.
        sample: shape of one sample, (C, H, W) if it is a photo: it gives sizes that the file leaves open.

    Raises:
        FormatError: the file is damaged, or has several inputs.
        UnsupportedOp: it holds something that is not known.
    """
    declared = _declared_inputs(path)
    if len(declared) != 1:
        raise FormatError(
            f"{path}: reads {len(declared)} inputs, files of --calibrate give one; use oaq.quantize in Python"
        )
    if path.suffix.lower() == TFLITE:
        from oaq.capture.from_float_tflite import normalize as normalize_tflite

        return normalize_tflite(path)
    from oaq.capture.from_float_onnx import normalize

    ((name, (_, *sizes)),) = declared.items()
    if not any(isinstance(size, str) for size in sizes):
        return normalize(path)
    orders = [tuple(sample), (*sample[1:], sample[0])]
    fitting = [order for order in orders if _fits(order, sizes)]
    return normalize(path, {name: fitting[0] if fitting else orders[0]})


def _fits(sample: Sequence[int], sizes: Sequence[int | str]) -> bool:
    pairs = zip(sample, sizes, strict=False)
    return len(sample) == len(sizes) and all(isinstance(size, str) or size == extent for extent, size in pairs)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FormatError(f"{path}: is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise FormatError(f"{path}: line {error.lineno}: {error.msg}") from error
    finally:
        sys.path.pop(0)
    return module


def _load_module(name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise FormatError(f"{name!r}: no such module (for a file, write its name with .py)") from error
        raise


def _load_exported(path: Path) -> torch.nn.Module:
    import torch

    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    try:
        return torch.export.load(path).module()
    except Exception as error:  # torch raises zipfile's, json's and its own errors here
        raise FormatError(f"{path}: is not a file written by torch.export.save: {error}") from error
