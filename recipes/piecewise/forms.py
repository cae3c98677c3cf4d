"""Ways to round the weights of a whole network, those of the paper among them; activations stay in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.capture.graph import FloatGraph
from oaq.choose.codebook_facts import piecewise_weights, uniform_weights
from oaq.choose.published import corrected, published_rows, published_uniform
from oaq.choose.round import packed_rows, unpacked
from oaq.data.batches import Batch
from oaq.numerics.codebook import tail_steps
from oaq.ptq.execute import layers, run_graph

Reals = NDArray[np.float64]
Parameters = Mapping[str, tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Form:
    """A way to round weights.

    Attributes:
        name: in tables.
        stored: bits of a weight in a file.
        rounded: of (N, K) weights.
    """

    name: str
    stored: int
    rounded: Callable[[Reals], Reals]


def headline_forms() -> list[Form]:
    """Around 4 bits, and uniform weights of as many stored bits."""
    return [
        uniform_of_paper(4),
        clipped(4),
        clipped(5),
        published(4, "one-shot"),
        published(4, "search"),
        integer(4),
        uniform_of_paper(6),
    ]


def shape_forms(bits: int) -> list[Form]:
    """What the paper's table has at so many bits, and beside it weights of as many stored bits."""
    forms = [uniform_of_paper(bits), published(bits, "one-shot"), published(bits, "search")]
    if tail_steps(bits):
        forms.append(integer(bits))
    return [*forms, clipped(bits + 1)] if bits < 8 else forms


def uniform_of_paper(bits: int) -> Form:
    """No clip."""
    return Form(f"uniform {bits}, paper's", bits, partial(published_uniform, bits=bits))


def clipped(bits: int) -> Form:
    """Each output at its best clip."""
    return Form(f"uniform {bits}, best clip", bits, partial(uniform_weights, bits=bits))


def published(bits: int, rule: str) -> Form:
    """The paper's two scales and offset."""
    return Form(f"PWLQ {bits}, published, {rule}", bits + 1, lambda rows: published_rows(rows, bits, rule).reals())  # type: ignore[arg-type]


def integer(bits: int) -> Form:
    """The codebook of one scale that oaq uses."""
    return Form(f"integer PWLQ {bits}", bits + 1, partial(piecewise_weights, bits=bits))


@dataclass(frozen=True, eq=False)
class Rounded:
    """Weights and biases of every layer, by its name.

    Attributes:
        plain: as rounded.
        corrected: with mean and deviation of every output made those of its float weights.
        sqnr_db: of all weights together, as rounded.
    """

    plain: Parameters
    corrected: Parameters
    sqnr_db: float


def rounded_network(graph: FloatGraph, form: Form) -> Rounded:
    """The weights of a network, batch norms folded, in one form."""
    plain: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    fixed: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    noise = power = 0.0
    for node, op in layers(graph):
        rows = packed_rows(op).astype(np.float64)
        rounded = form.rounded(rows)
        noise, power = noise + float(((rounded - rows) ** 2).sum()), power + float((rows**2).sum())
        for parameters, weight in ((plain, rounded), (fixed, corrected(rows, rounded))):
            parameters[node.name] = torch.from_numpy(unpacked(weight.astype(np.float32), op)), torch.from_numpy(op.bias)
    return Rounded(plain, fixed, 10 * np.log10(power / noise))


def float_logits(graph: FloatGraph, x: Batch, parameters: Parameters | None = None) -> NDArray[np.float32]:
    """(n, classes) of the network, with these weights and biases instead of its own."""
    (name,) = graph.outputs
    with torch.inference_mode():
        parts = [
            run_graph(graph, torch.from_numpy(part), parameters=parameters, keep=(name,))[name] for part in _parts(x)
        ]
    return torch.cat(parts).numpy()


def _parts(x: Batch) -> list[Batch]:
    return [x[start : start + 20] for start in range(0, len(x), 20)]
