"""What calibration sees of the inputs of linear layers: covariances, for rounding; ends, for constant scales."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.errors import CalibrationError
from oaq.numerics.affine import Affine

Reals = NDArray[np.float64]


@dataclass(eq=False)
class LayerInputs:
    """Inputs of one layer, summed up.

    Attributes:
        rows: how many.
        total: (K,) their sum.
        products: (K, K) sum of their products with one another.
        least, most: of any element, 0 included.
    """

    rows: int = 0
    total: Reals = field(default_factory=lambda: np.zeros(0))
    products: Reals = field(default_factory=lambda: np.zeros((0, 0)))
    least: float = 0.0
    most: float = 0.0

    def add(self, x: torch.Tensor) -> None:
        """Count the rows of (..., K) inputs."""
        rows = x.detach().to("cpu", torch.float64).reshape(-1, x.shape[-1]).numpy()
        if not len(rows):
            return
        if not self.rows:
            self.total, self.products = np.zeros(rows.shape[1]), np.zeros((rows.shape[1],) * 2)
        self.rows += len(rows)
        self.total += rows.sum(axis=0)
        self.products += rows.T @ rows
        self.least, self.most = min(self.least, float(rows.min())), max(self.most, float(rows.max()))

    def moments(self) -> Reals:
        """(K, K) mean products, about zero: what rounding does to the mean counts, for no bias takes it back."""
        return self.products / self.rows

    def constant(self, where: str) -> Affine:
        """A scale and zero point whose 8 bits cover everything seen.

        Raises:
            CalibrationError: what was seen is not finite.
        """
        scale = (self.most - self.least) / 255 or 1.0
        if not np.isfinite(scale) or not np.isfinite(np.float32(scale)):
            raise CalibrationError(f"{where}: its inputs reach {self.least} and {self.most}, which no scale covers")
        return Affine(scale, round(min(max(-self.least / scale, 0), 255)))


def observe(
    module: torch.nn.Module, layers: Mapping[str, torch.nn.Module], data: Iterable[Any]
) -> dict[str, LayerInputs]:
    """Run ``module`` on every sample and look at the inputs of ``layers``.

    Args:
        module: to run, without gradients, as it would be evaluated.
        layers: parts of it by name.
        data: what it is called with: a tensor, a tuple of arguments, or a mapping of named ones, each.

    Raises:
        CalibrationError: there is no data, or a layer was never reached.
    """
    inputs = {name: LayerInputs() for name in layers}
    hooks = [layer.register_forward_pre_hook(_counter(inputs[name])) for name, layer in layers.items()]
    was_training, count = module.training, 0
    module.eval()
    try:
        with torch.no_grad():
            for sample in data:
                _call(module, sample)
                count += 1
    finally:
        module.train(was_training)
        for hook in hooks:
            hook.remove()
    missed = [name for name, of_layer in inputs.items() if not of_layer.rows]
    if missed:
        reason = "there is no data" if not count else f"{count} samples never reached {', '.join(missed[:3])}"
        raise CalibrationError(
            f"calibration of dynamic layers: {reason}. Give samples that use every layer, or exclude"
        )
    return inputs


def _counter(of_layer: LayerInputs) -> Callable[[torch.nn.Module, tuple[Any, ...]], None]:
    return lambda _, inputs: of_layer.add(inputs[0])


def _call(module: torch.nn.Module, sample: Any) -> None:  # noqa: ANN401 (the caller's)
    if isinstance(sample, Mapping):
        module(**sample)
    elif isinstance(sample, tuple | list):
        module(*sample)
    else:
        module(sample)
