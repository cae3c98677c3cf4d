"""``DynamicLinear``: a linear layer in int8 whose inputs are quantized as they come, proved for every input."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor

from oaq.dynamic import DynamicLayer, DynamicPlan, DynamicSession, plan_layer
from oaq.dynamic.law import Law, check_law
from oaq.dynamic.weights import ChosenWeights
from oaq.errors import ProgramError
from oaq.numerics.affine import Affine

_MODULES: weakref.WeakValueDictionary[int, DynamicLinear] = weakref.WeakValueDictionary()
"""Every module of this process by its number: how a compiled graph finds it."""
_NUMBERS: Final = itertools.count()


class DynamicLinear(torch.nn.Module):
    """y = x W' + b for x of shape (..., K), by ``oaq.dynamic``: int8 products, float32 results.

    Nothing is trained here: results carry no gradient. Inputs of another floating type are computed in float32, and
    results returned in their type. The weights stay int8 and their scales float32 whatever type the module is moved to.

    Attributes:
        in_features: K.
        out_features: N.
        law: how inputs are quantized: "row", "row_s8", "tensor", or "constant".
        threads: that share a call; None is ``torch.get_num_threads()``.
        label: what errors and explanations call it.
        weight_q: buffer, (N, K) int8.
        weight_scale: buffer, (N,) float32.
        bias: buffer, (N,) float32, or None.
        input_scale, input_zero_point: buffers, of the law "constant"; else None.
    """

    law: Law
    weight_q: Tensor
    weight_scale: Tensor
    bias: Tensor | None
    input_scale: Tensor | None
    input_zero_point: Tensor | None

    def __init__(
        self,
        weights: ChosenWeights,
        bias: Tensor | None = None,
        law: Law = "row",
        *,
        constant: Affine | None = None,
        threads: int | None = None,
        label: str = "linear",
    ) -> None:
        """Hold weights; nothing is planned before ``plan`` or a call asks for it.

        Raises:
            ProgramError: there is no such law.
        """
        super().__init__()
        check_law(law, constant)
        self.out_features, self.in_features = weights.weight.shape
        self.law, self.threads, self.label = law, threads, label
        self.register_buffer("weight_q", torch.from_numpy(weights.weight.copy()))
        self.register_buffer("weight_scale", torch.from_numpy(weights.scale.copy()))
        self.register_buffer("bias", None if bias is None else bias.detach().to("cpu", torch.float32).clone())
        of_input = (None, None)
        if constant is not None:
            of_input = torch.tensor(constant.scale), torch.tensor(constant.zero_point, dtype=torch.int32)
        for name, value in zip(("input_scale", "input_zero_point"), of_input, strict=True):
            self.register_buffer(name, value)
        self._begin()

    def _begin(self) -> None:
        """What belongs to one object of one process."""
        self._session: DynamicSession | None = None
        self._versions: tuple[tuple[int, int], ...] = ()
        self._number = next(_NUMBERS)
        _MODULES[self._number] = self

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy without what is native."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_session", "_versions", "_number")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._begin()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DynamicLinear:
        """Move buffers as any module does, but keep their types: int8 and float32 are what is proved and computed."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, buffer in before.items():
            moved = self._buffers[name]
            if buffer is not None and moved is not None and moved.dtype != buffer.dtype:
                self._buffers[name] = buffer.to(moved.device)
        return self

    @property
    def weight(self) -> Tensor:
        """(N, K) float32 that the integers stand for, computed at every access."""
        return self.weight_q.to(torch.float32) * self.weight_scale[:, None]

    @property
    def layer(self) -> DynamicLayer:
        """The layer as a value."""
        constant = None
        if self.input_scale is not None and self.input_zero_point is not None:
            constant = Affine(float(self.input_scale), int(self.input_zero_point))
        bias = None if self.bias is None else self.bias.numpy()
        return DynamicLayer(
            self.label, self.weight_q.numpy(), self.weight_scale.numpy(), None, bias, self.law, constant
        )

    @property
    def plan(self) -> DynamicPlan:
        """The proved plan of this CPU: row, spills, reach of the totals."""
        return self.session.plans[0]

    @property
    def session(self) -> DynamicSession:
        """What runs; made again when a buffer has changed.

        Raises:
            AccumulatorOverflow, NoKernel: the layer cannot be proved, or not run here.
        """
        buffers = [buffer for buffer in self._buffers.values() if buffer is not None]
        versions = tuple((buffer.data_ptr(), 0 if buffer.is_inference() else buffer._version) for buffer in buffers)
        if self._session is None or versions != self._versions:
            if any(buffer.device.type != "cpu" for buffer in buffers):
                raise ProgramError(f"{self.label}: dynamic int8 layers run on CPUs; move the module back by .to('cpu')")
            self._session, self._versions = DynamicSession(plan_layer(self.layer)), versions
        return self._session

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) to (..., N), in the type of ``x``.

        Raises:
            ProgramError: the shape or the device does not fit, or a row of ``x`` holds NaN or infinity.
        """
        if torch.compiler.is_compiling():
            return cast(Tensor, torch.ops.oaq.dynamic_linear(x, self._number, self.out_features))
        return self._run(x)

    def _run(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not x.dtype.is_floating_point or x.shape[-1:] != (self.in_features,):
            raise ProgramError(
                f"{self.label}: takes floats of shape (..., {self.in_features}) on a CPU, not {x.dtype} of shape "
                f"{tuple(x.shape)} on {x.device}"
            )
        session = self.session
        session.threads = self.threads or torch.get_num_threads()
        rows = x.detach().reshape(-1, self.in_features).to(torch.float32).contiguous()
        y = torch.empty((len(rows), self.out_features), dtype=torch.float32)
        session.run_into(rows.numpy(), [y.numpy()])
        return y.reshape(*x.shape[:-1], self.out_features).to(x.dtype)

    def extra_repr(self) -> str:
        """What ``repr`` shows of it."""
        return f"in_features={self.in_features}, out_features={self.out_features}, law={self.law!r}, int8 weights"


@torch.library.custom_op("oaq::dynamic_linear", mutates_args=())
def _dynamic_linear(x: Tensor, number: int, outputs: int) -> Tensor:
    """A dynamic layer for compiled graphs, which do not look inside; ``number`` is of a module of this process."""
    del outputs
    module = _MODULES.get(number)
    if module is None:
        raise ProgramError("the dynamic layer of this compiled graph is gone; keep the module it was compiled from")
    return module._run(x)


@_dynamic_linear.register_fake
def _(x: Tensor, number: int, outputs: int) -> Tensor:
    del number
    return x.new_empty((*x.shape[:-1], outputs))


def real_weights(module: torch.nn.Module) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(N, K) float64 weights of a linear layer, or of a Conv1D of GPT-2 kind, which holds them transposed."""
    weight = cast(Tensor, module.weight).detach().to("cpu", torch.float64).numpy()
    return weight if isinstance(module, torch.nn.Linear) else np.ascontiguousarray(weight.T)
