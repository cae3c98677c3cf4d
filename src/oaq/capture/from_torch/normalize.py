"""``normalize``: export, check, walk."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import fx, nn

from oaq.capture.from_torch import functions, layers, movement, pools
from oaq.capture.from_torch.builder import (
    LEAF,
    TorchBuilder,
    base_name,
    rotated,
    sample_shape,
    unsupported,
    works_in_place,
)
from oaq.capture.from_torch.constants import evaluate, lifted
from oaq.capture.from_torch.layers import Arguments
from oaq.capture.from_torch.order import wants_channels_last
from oaq.capture.from_torch.polylines import is_inside, polyline_calls, take_call
from oaq.capture.graph import FloatGraph
from oaq.errors import ProgramError, UnsupportedOp
from oaq.program.layout import channels_first, layout_key

Handler = Callable[[TorchBuilder, fx.Node, Arguments], str | tuple[str, ...]]


HANDLERS: Final[Mapping[str, Handler]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), layers.convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), layers.transposed_convolution),
    "linear": layers.linear,
    "batch_norm": layers.batch_norm,
    **dict.fromkeys(("add", "sub", "rsub", "neg", "mul", "div"), layers.arithmetic),
    **functions.HANDLERS,
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), pools.max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), pools.avg_pool),
    **dict.fromkeys((f"adaptive_avg_pool{rank}d" for rank in (1, 2, 3)), pools.adaptive_avg_pool),
    **dict.fromkeys((f"adaptive_max_pool{rank}d" for rank in (1, 2, 3)), pools.adaptive_max_pool),
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin", "min"), layers.extreme),
    "mean": pools.mean,
    **dict.fromkeys(("amax", "max"), pools.greatest),
    **dict.fromkeys((f"upsample_nearest{rank}d" for rank in (1, 2, 3)), pools.nearest("nearest")),
    **dict.fromkeys((f"_upsample_nearest_exact{rank}d" for rank in (1, 2, 3)), pools.nearest("nearest-exact")),
    "upsample_bilinear2d": pools.upsample("bilinear"),
    "pixel_shuffle": pools.pixel_shuffle,
    **dict.fromkeys(("dropout", "feature_dropout", "clone", "contiguous", "detach", "alias", "to"), movement.unchanged),
    **dict.fromkeys(("view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten"), movement.reshape),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims", "permute"), movement.transpose),
    "select": movement.select,
    **dict.fromkeys(("pad", "constant_pad_nd"), movement.pad),
    **dict.fromkeys((f"reflection_pad{rank}d" for rank in (1, 2, 3)), movement.pad),
    **dict.fromkeys((f"replication_pad{rank}d" for rank in (1, 2, 3)), movement.pad),
    "flip": movement.flip,
    "roll": movement.roll,
    "index_select": movement.index_select,
    **dict.fromkeys(("cat", "concat"), movement.concat),
    "slice": movement.slice_,
    **dict.fromkeys(("chunk", "split", "split_with_sizes"), movement.split),
}
"""Handlers by the name of the ATen operator."""

VIEWS: Final = {
    *("dropout", "feature_dropout", "contiguous", "detach", "alias", "to"),
    *("view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten", "slice", "chunk", "split"),
    *("split_with_sizes", "transpose", "swapaxes", "swapdims", "permute", "select"),
}
"""Operators whose result may lie in the memory of what they read."""


def normalize(
    model: nn.Module, example: torch.Tensor | tuple[torch.Tensor, ...], name: str | None = None
) -> FloatGraph:
    """The clean graph of a network in evaluation.

    Args:
        model: any module ``torch.export`` takes; it is left as it was.
        example: (batch, C), (batch, C, L), (batch, T, C), (batch, C, H, W) or (batch, C, D, H, W) floats, one tensor
            per input; only shapes matter, any batch will do.
        name: of the graph; None takes the module's class.

    Returns:
        The graph: batch norms folded, clamps inside the operators they follow, layers named as in the module.

    Raises:
        UnsupportedOp: an operator, or a variant of one, that oaq does not know; says where and what it knows.
        ProgramError: the example does not fit the network, or a weight is NaN or infinite.
    """
    examples = example if isinstance(example, tuple) else (example,)
    if not isinstance(model, nn.Module):
        raise ProgramError(f"a network is a torch.nn.Module, not {type(model).__name__}")
    _check_examples(examples)
    _check_weights(model)
    program = _export(model, examples)
    build = TorchBuilder(name or type(model).__name__, batch=int(examples[0].shape[0]), constants=lifted(program))
    provided = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"}
    outputs: tuple[str, ...] = ()
    leaves = {path for path, module in model.named_modules() if not any(module.children())}
    calls = polyline_calls(model, program.graph)
    for node in program.graph.nodes:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        node.meta[LEAF] = bool(stack) and stack[-1][0] in leaves
        if node.op == "placeholder":
            if node.name in provided:
                _add_input(build, node)
        elif node.op == "call_function" and node in calls:
            if not is_inside(calls, node):
                build.settle(node, take_call(build, calls[node]), None)
        elif node.op == "call_function":
            _take(build, node)
        elif node.op == "output":
            outputs = tuple(_returned(build, value, node) for value in node.args[0])
    if not outputs or any(tensor in build.inputs for tensor in outputs):
        raise UnsupportedOp(f"{build.name}: an output is an input as it is; there is nothing to compute")
    if len(set(outputs)) != len(outputs):
        raise UnsupportedOp(f"{build.name}: returns one value twice ({', '.join(outputs)}); return it once")
    return build.graph(outputs, {"source": "torch", **_layouts(build, program.graph)})


def _returned(build: TorchBuilder, value: object, node: fx.Node) -> str:
    """The tensor of an output, its channels first or last."""
    tensor, axes = build.counted(value, node)
    return tensor if axes == rotated(len(axes)) else build.read(value, node)


def _layouts(build: TorchBuilder, graph: fx.Graph) -> dict[str, str]:
    """What the metadata say of inputs and outputs whose channels come last."""
    layouts = {}
    ends = [node for node in graph.nodes if node.op == "placeholder" and build.values.get(node) in build.inputs]
    for value in (*ends, *graph.output_node().args[0]):  # type: ignore[misc]
        tensor, axes = build.counted(value, graph.output_node())
        if axes == rotated(len(axes)) and len(axes) > 1:
            layouts[layout_key(tensor)] = "NHWC"
    return layouts


def _add_input(build: TorchBuilder, node: fx.Node) -> None:
    name, shape, last = node.name, sample_shape(node), wants_channels_last(node)
    build.shapes[name] = channels_first(shape) if last else shape
    build.inputs.append(name)
    build.settle(node, name, None)
    build.keep_axes(node, rotated(len(shape)) if last else tuple(range(len(shape))))


def _take(build: TorchBuilder, node: fx.Node) -> None:
    """Handle one call."""
    if not any(build.is_activation(value) for value in node.all_input_nodes):
        evaluate(build.constants, node)
        return
    if node.target is operator.getitem:
        source, index = node.args[0], node.args[1]
        values = build.values.get(source)  # type: ignore[arg-type]
        if isinstance(source, fx.Node) and isinstance(values, tuple) and isinstance(index, int):
            if index >= len(values):
                if node.users:
                    raise unsupported(source, "its indices are wanted; oaq gives the values only")
                return
            build.settle(node, values[index], source)
            build.axes.update({node: build.axes[source]} if source in build.axes else {})
        return
    key = base_name(node)
    if key == "_assert_tensor_metadata":  # says what the example has shown already
        return
    handler = HANDLERS.get(key) or HANDLERS.get(key.rstrip("_"))
    if handler is None:
        raise unsupported(node, "oaq has no operator for it. What it takes: docs/how-to/quantize-your-model.md")
    first = node.all_input_nodes[0]
    if works_in_place(node) and first not in build.values:
        raise unsupported(node, f"it writes into the constant {first}; write it without the trailing underscore")
    result = handler(build, node, _arguments(node))
    if works_in_place(node) and isinstance(result, str):
        build.overwrite(first, result, node)
        build.settle(node, result, first)
    else:
        build.settle(node, result, first if key in VIEWS else None)


def _arguments(node: fx.Node) -> Arguments:
    """All arguments by name, defaults included."""
    schema = node.target._schema  # type: ignore[union-attr]
    arguments: dict[str, Any] = {}
    for index, argument in enumerate(schema.arguments):
        if index < len(node.args):
            arguments[argument.name] = node.args[index]
        elif argument.name in node.kwargs:
            arguments[argument.name] = node.kwargs[argument.name]
        else:
            arguments[argument.name] = argument.default_value if argument.has_default_value() else None
    return arguments


def _export(model: nn.Module, examples: tuple[torch.Tensor, ...]) -> torch.export.ExportedProgram:
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            try:
                model(*(example.clone() for example in examples))  # it may write into what it is given
            except Exception as error:  # whatever the module itself raises
                shapes = ", ".join(str(tuple(example.shape)) for example in examples)
                raise ProgramError(
                    f"{type(model).__name__} does not run on an example of shape {shapes}: "
                    f"{str(error) or type(error).__name__}"
                ) from error
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's own, about its own
                try:
                    return torch.export.export(model, tuple(example.clone() for example in examples), strict=False)
                except Exception as error:  # torch raises many kinds; all mean that it cannot be captured
                    lines = str(error).strip().splitlines() or [type(error).__name__]
                    raise UnsupportedOp(
                        f"torch.export cannot capture {type(model).__name__}: {lines[0]}. Control flow that depends on "
                        "values, and code outside torch, have no graph"
                    ) from error
    finally:
        for module, was_training in training.items():
            module.training = was_training


def _check_examples(examples: tuple[torch.Tensor, ...]) -> None:
    for example in examples:
        if not isinstance(example, torch.Tensor) or example.ndim not in (2, 3, 4, 5) or 0 in example.shape:
            shape = tuple(example.shape) if isinstance(example, torch.Tensor) else type(example).__name__
            raise ProgramError(
                f"an example is a tensor (batch, C), (batch, C, L), (batch, T, C), (batch, C, H, W) or (batch, C, D, "
                f"H, W), not {shape}"
            )
        if not example.is_floating_point():
            raise ProgramError(
                f"an example is of a float type, not {example.dtype}: give what the network's layers read"
            )
        if example.shape[0] != examples[0].shape[0]:
            raise ProgramError("the examples of several inputs need one batch size")


def _check_weights(model: nn.Module) -> None:
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            bad = int((~torch.isfinite(value)).sum())
            raise ProgramError(
                f"{name}: {bad} of {value.numel()} weights are NaN or infinite; nothing can be proved of them"
            )
