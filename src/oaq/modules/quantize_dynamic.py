"""``quantize_dynamic``: linear layers of any torch module replaced by proved dynamic int8 ones."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

import torch
from torch import nn

from oaq.dynamic.law import LAWS, Law
from oaq.dynamic.weights import choose_weights, narrow_register
from oaq.errors import ConfigError
from oaq.modules.calibrate import observe
from oaq.modules.dynamic_linear import DynamicLinear, real_weights

Module = TypeVar("Module", bound=nn.Module)
KINDS: Final = "nn.Linear, or a Conv1D of GPT-2 kind"


def quantize_dynamic(
    module: Module,
    *,
    target: str | None = None,
    activations: Law = "row",
    weight_bits: int = 8,
    data: Iterable[Any] | None = None,
    exclude: Collection[str] = (),
    threads: int | None = None,
) -> Module:
    """A copy of a module whose linear layers compute in int8, each proved for every input.

    ``nn.Linear`` and Conv1D of GPT-2 kind are replaced, at any depth, of any size; all else stays, ``nn.Embedding``
    included. Nothing is exported or traced, so any model works. Each layer's proof is made here, and checked by
    ``oaq.checker``.

    Args:
        module: any torch module on a CPU; it is not changed.
        target: CPUs that must run the weights at full speed: "avx2", "avx512bw", "vnni", "avxvnni", "neon", or "all".
            None is this CPU. The weights are right on every CPU, whatever the target.
        activations: "row": one scale and zero point for each row (token); "row_s8": symmetric; "tensor": one for the
            whole input, by ONNX's law; "constant": from ``data``, once.
        weight_bits: 2 to 8.
        data: what the module is called with, sample by sample: a tensor, a tuple of arguments, or a mapping of named
            ones. Rounding then feeds its errors back under the covariance of each layer's inputs. Proofs need none.
        exclude: names of layers to leave alone, wildcards allowed ("lm_head", "*.attn.*").
        threads: that share a layer; None is ``torch.get_num_threads()`` at each call.

    Raises:
        ConfigError: a setting is unknown, or nothing is left to replace.
        CalibrationError: weights or data are not finite, or data miss a layer.
        AccumulatorOverflow: a layer has so many terms that 32 bits do not hold its totals.
    """
    if activations not in LAWS:
        raise ConfigError(f"activations are quantized by {', '.join(LAWS)}, not by {activations!r}")
    if activations == "constant" and data is None:
        raise ConfigError("constant scales of activations come from calibration: give data=...")
    register = narrow_register(target)
    replaced = copy.deepcopy(module)
    layers = _layers(replaced, exclude)
    inputs = {} if data is None else observe(replaced, layers, data)
    successors: dict[nn.Module, DynamicLinear] = {}
    for name, layer in layers.items():
        of_layer = inputs.get(name)
        covariance = None if of_layer is None else of_layer.moments()
        weights = choose_weights(real_weights(layer), register, weight_bits, covariance, where=name or "the module")
        constant = of_layer.constant(name) if of_layer is not None and activations == "constant" else None
        bias = getattr(layer, "bias", None)
        successor = DynamicLinear(
            weights, bias, activations, constant=constant, threads=threads, label=name or type(layer).__name__
        )
        successor.train(layer.training)
        _ = successor.plan
        successors[layer] = successor
    return _swapped(replaced, successors)


def _layers(module: nn.Module, exclude: Collection[str]) -> dict[str, nn.Module]:
    """What is to be replaced, by name, each once.

    Raises:
        ConfigError: there is nothing.
    """
    projections = _read_by_name(module)
    layers = {
        name: part
        for name, part in module.named_modules()
        if _is_linear(part) and part not in projections and not any(fnmatchcase(name, pattern) for pattern in exclude)
    }
    if not layers:
        reason = f" besides {', '.join(sorted(exclude))}" if exclude else ""
        raise ConfigError(f"{type(module).__name__} holds no {KINDS}{reason}: there is nothing to replace")
    return layers


def _is_linear(module: nn.Module) -> bool:
    """Whether ``forward`` is that of ``nn.Linear``, whatever the class, or of a Conv1D of GPT-2 kind."""
    if isinstance(module, nn.Linear):
        return type(module).forward is nn.Linear.forward and not isinstance(module.weight, nn.UninitializedParameter)
    weight, outputs = getattr(module, "weight", None), getattr(module, "nf", None)
    if type(module).__name__ != "Conv1D" or not isinstance(weight, torch.Tensor):
        return False
    return weight.ndim == 2 and outputs == weight.shape[1]


def _read_by_name(module: nn.Module) -> set[nn.Module]:
    """Linear layers whose weights torch's own code reads instead of calling them: those of MultiheadAttention."""
    return {
        part.out_proj
        for part in module.modules()
        if isinstance(part, nn.MultiheadAttention) and isinstance(part.out_proj, nn.Linear)
    }


def _swapped(module: Module, successors: dict[nn.Module, DynamicLinear]) -> Module:
    """``module`` with every layer replaced, in all the places where it stands."""
    if module in successors:
        return successors[module]  # type: ignore[return-value]
    for part in list(module.modules()):
        for name, child in list(part._modules.items()):
            if child is not None and child in successors:
                part._modules[name] = successors[child]
        if isinstance(part, nn.TransformerEncoderLayer):
            part.activation_relu_or_gelu = 0  # torch's fused path would read weights instead of calling layers
    return module
