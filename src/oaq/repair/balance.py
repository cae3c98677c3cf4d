"""Float ONNX made ready for dynamic int8: channels of a tensor brought to like ranges before it is quantized as one.

Dynamic files quantize a whole tensor at one scale. In text encoders a few channels of a normalization's result are
many times as wide as the rest, and take the steps that the others need. With a number s[k] >= 1 for each channel,

    x w = (x / s) (s w)

is the same product. A Mul by 1 / s goes before each MatMul or Gemm by constants where that makes the expected error of
the sums less. log s is a mean of what channels and weights reach (as SmoothQuant has it), the weights of the mean being
those of least expected error, rounded so that s is a power of two: then the float file computes the same bits as
before. Where it would be below 1 it is 1: no range grows, whatever comes that samples did not show. What else reads x
is left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import CalibrationError, FormatError, OaqError

if TYPE_CHECKING:
    import onnx

Reals = NDArray[np.float64]
Feed = Mapping[str, NDArray[Any]]
POWERS: Final = tuple(part / 10 for part in range(11))
"""Exponents of a channel's reach that are tried; that of its weights is one less. Beside them, factors of 1."""
OPERAND_STEPS: Final = 255
WEIGHT_STEPS: Final = 127
LEAST: Final = 1e-5
"""What a channel, and weights, count as at least, in parts of the median."""
WORTH: Final = 0.5
"""Part of the expected error that has to be left at most: a Mul takes time."""


@dataclass
class Channels:
    """What samples show of a tensor, channel by channel.

    Attributes:
        least, most: of each channel.
        squares: sums of them.
        count: how many.
    """

    least: Reals
    most: Reals
    squares: Reals
    count: int

    def take(self, x: NDArray[np.floating]) -> None:
        """Look at (..., K) values."""
        rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
        if not np.isfinite(rows).all():
            raise CalibrationError("a sample makes NaN or infinity in a tensor that is to be quantized")
        self.least = np.minimum(self.least, rows.min(axis=0, initial=0.0))
        self.most = np.maximum(self.most, rows.max(axis=0, initial=0.0))
        self.squares = self.squares + (rows**2).sum(axis=0)
        self.count += len(rows)


@dataclass(frozen=True)
class Balanced:
    """A float file with balanced channels.

    Attributes:
        content: bytes of the ONNX file.
        tensors: operands of products by constants, by name: the number of their channels that are divided, of all.
        samples: looked at.
    """

    content: bytes
    tensors: Mapping[str, tuple[int, int]]
    samples: int

    @property
    def divided(self) -> int:
        """Tensors of which any channel is divided."""
        return sum(divided > 0 for divided, _ in self.tensors.values())


def balance(path: str | Path, data: Iterable[Feed]) -> bytes:
    """The float ONNX file ``path`` with channels balanced, as bytes; products and their sums stay the same bits.

    Args:
        path: of a file whose MatMul and Gemm by float32 constants will be quantized dynamically.
        data: samples: arrays by the names of the file's inputs.

    Raises:
        FormatError: the file cannot be read.
        CalibrationError: no such product is in the file, there are no samples, or ONNX Runtime cannot run it on them.
    """
    return balance_with_report(path, data).content


def balance_with_report(path: str | Path, data: Iterable[Feed]) -> Balanced:
    """As ``balance``, with what was done to each tensor."""
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf and onnx raise classes of their own
        raise FormatError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    constants = _matrices(model)
    products = _products(model, constants)
    if not products:
        raise CalibrationError(f"{path}: has no MatMul or Gemm by float32 constants, so there is nothing to balance")
    seen, samples = _observed(model, sorted(products), data)
    tensors = {}
    for source, nodes in products.items():
        weight = np.concatenate([_matrix(constants, node) for node in nodes], axis=1)
        factor = balanced(seen[source], weight)
        if factor is not None and not _is_exact(weight, factor):
            factor = None
        tensors[source] = (0 if factor is None else int((factor > 1.0).sum()), len(seen[source].least))
        if factor is not None:
            _insert(model, constants, (source, nodes), factor)
    _drop_unread(model)
    return Balanced(model.SerializeToString(deterministic=True), tensors, samples)


def balanced(seen: Channels, weight: NDArray[np.floating]) -> Reals | None:
    """(K,) by what each channel is divided, and its weights multiplied; None if that is not worth a Mul.

    Args:
        seen: of the operands.
        weight: (K, N).
    """
    reach = _floored(np.maximum(-seen.least, seen.most))
    strength = _floored(np.abs(weight).max(axis=1).astype(np.float64))
    square = seen.squares / max(seen.count, 1)

    def error(factor: Reals) -> float:
        """Expected squared error of the sums: operands' steps through weights, weights' steps through operands."""
        step = ((seen.most / factor).max(initial=0.0) - (seen.least / factor).min(initial=0.0)) / OPERAND_STEPS
        scaled = weight * factor[:, None]
        steps = np.abs(scaled).max(axis=0) / WEIGHT_STEPS
        return float(step**2 * (scaled**2).sum() + (steps**2).sum() * (square / factor**2).sum())

    plain = np.ones(len(reach))
    trials = [plain]
    for power in POWERS[1:]:
        factor = reach**power / strength ** (1.0 - power)
        trials.append(np.maximum(np.exp2(np.rint(np.log2(factor / np.median(factor)))), 1.0))
    errors = [error(factor) for factor in trials]
    best = int(np.argmin(errors))
    return trials[best] if errors[best] < WORTH * errors[0] else None


def _floored(values: Reals) -> Reals:
    return np.maximum(values, max(float(np.median(values)) * LEAST, np.finfo(np.float32).tiny))


def _products(model: onnx.ModelProto, constants: Collection[str]) -> dict[str, list[Any]]:
    """MatMul and Gemm nodes by these matrices, by what they read that is computed."""
    result: dict[str, list[Any]] = {}
    for node in model.graph.node:
        is_product = node.op_type in ("MatMul", "Gemm") and node.domain in ("", "ai.onnx")
        is_product = is_product and node.input[0] not in constants and not _flag(node, "transA")
        if is_product and node.input[1] in constants:
            result.setdefault(node.input[0], []).append(node)
    return result


def _matrices(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Matrices of float32 that hold a number, by name: initializers, and what Constant nodes give."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            tensors.update((node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value")
    return {
        name: tensor
        for name, tensor in tensors.items()
        if tensor.data_type == tensor.FLOAT and len(tensor.dims) == 2 and all(tensor.dims)
    }


def _is_exact(weight: NDArray[np.floating], factor: Reals) -> bool:
    """Whether weights (K, N) of float32 stay inside its range: a power of two changes their exponents only."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(weight * factor.astype(np.float32)[:, None]).all())


def _flag(node: onnx.NodeProto, name: str) -> bool:
    return any(attribute.name == name and attribute.i != 0 for attribute in node.attribute)


def _matrix(constants: Mapping[str, onnx.TensorProto], node: onnx.NodeProto) -> NDArray[np.floating]:
    """(K, N) of a product, as it multiplies."""
    from onnx import numpy_helper

    stored = numpy_helper.to_array(constants[node.input[1]])
    return stored.T if _flag(node, "transB") else stored


def _observed(model: onnx.ModelProto, names: list[str], data: Iterable[Feed]) -> tuple[dict[str, Channels], int]:
    """What samples show of tensors inside the file, and how many samples there were."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    given = {value.name for value in copy.graph.input}
    outputs = {value.name for value in copy.graph.output}
    inside = [name for name in names if name not in given]
    copy.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in inside if name not in outputs
    )
    seen: dict[str, Channels] = {}
    count = 0
    for count, arrays in enumerate(_runs(copy.SerializeToString(), inside, data), 1):  # noqa: B007 (the last one counts)
        for name in names:
            x = arrays[name]
            none = np.zeros(x.shape[-1])
            seen.setdefault(name, Channels(none, none, none, 0)).take(x)
    if len(seen) < len(names):
        raise CalibrationError("balancing needs at least one sample: arrays by the names of the file's inputs")
    return seen, count


def _runs(content: bytes, names: list[str], data: Iterable[Feed]) -> Iterator[dict[str, NDArray[Any]]]:
    """What a file was given and what it computed, sample by sample."""
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for feed in data:
            results = session.run(names or None, dict(feed))
            yield {**feed, **{name: np.asarray(array) for name, array in zip(names, results, strict=False)}}
    except OaqError:
        raise
    except ImportError as error:
        raise CalibrationError("balancing runs the file in ONNX Runtime: pip install onnxruntime") from error
    except Exception as error:  # onnxruntime raises whatever its kernels raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CalibrationError(f"ONNX Runtime cannot run the file on these samples: {reason}") from error


def _insert(
    model: onnx.ModelProto,
    constants: Mapping[str, onnx.TensorProto],
    product: tuple[str, list[Any]],
    factor: Reals,
) -> None:
    """A Mul behind a tensor and before the nodes that multiply it, and their weights the other way round."""
    from onnx import helper, numpy_helper

    source, nodes = product
    shared = factor.astype(np.float32)
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    result, constant = _fresh(f"{source}_balanced", taken), _fresh(f"{source}_balance", taken)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1) / shared, constant))
    for node in nodes:
        scaled = _matrix(constants, node) * shared[:, None]
        name = _fresh(f"{node.input[1]}_balanced", taken)
        stored = np.ascontiguousarray(scaled.T if _flag(node, "transB") else scaled)
        model.graph.initializer.append(numpy_helper.from_array(stored, name))
        node.input[0], node.input[1] = result, name
        taken.add(name)
    place = next(index for index, node in enumerate(model.graph.node) if any(node is member for member in nodes))
    model.graph.node.insert(place, helper.make_node("Mul", [source, constant], [result], name=result))


def _drop_unread(model: onnx.ModelProto) -> None:
    """Take out initializers that nothing reads any more; Constant nodes stay, and cost nothing."""
    read = _reads(model.graph) | {value.name for value in (*model.graph.output, *model.graph.input)}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in read]:
        model.graph.initializer.remove(tensor)


def _reads(graph: onnx.GraphProto) -> set[str]:
    """Names that nodes read, those of subgraphs too."""
    read = {value.name for value in graph.output}
    for node in graph.node:
        read.update(node.input)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                read |= _reads(inner)
    return read


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
