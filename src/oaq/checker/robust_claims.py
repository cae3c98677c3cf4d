"""What every certificate about a set of inputs has, for the checker: header, arrays, digest, the set itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.checker.program import NamedArrays, digest
from oaq.checker.robust_bounds import Spans
from oaq.checker.robust_layers import Box, Layered, Reading, Summing
from oaq.checker.robust_maps import Ints
from oaq.checker.verdict import Finding, Verdict
from oaq.errors import FormatError

SCHEMA = 1
MOST_BITS = 30
AT_ONCE = 64
MOST_INPUTS = 1 << 22
"""Inputs of a box that may be proved by running them."""


@dataclass(frozen=True, eq=False)
class Claims:
    """A certificate's header and arrays, and which arrays have been looked at.

    Attributes:
        header: fields, the digest among them.
        arrays: by name.
        used: names of arrays that have been read; grows.
        keys: fields that a certificate of this kind has, whatever its proof.
    """

    header: Mapping[str, Any]
    arrays: NamedArrays
    used: set[str]
    keys: set[str]

    def take(self, name: str, ndim: int) -> NDArray[np.int64]:
        """An array of integers of that rank, as int64."""
        self.used.add(name)
        value = self.arrays[name]
        if value.dtype.kind not in "iub" or value.ndim != ndim:
            raise FormatError(f"{name}: is {ndim}-d integers, not {value.dtype} of shape {value.shape}")
        return value.astype(np.int64)

    def multipliers(self, place: str, network: Layered, rows: int) -> dict[int, Ints]:
        """Multipliers by layer, (rows, K)."""
        by_layer = {}
        for name in sorted(self.arrays):
            if name.startswith(f"{place}/mu/"):
                layer = int(name.rpartition("/")[2])
                value = self.take(name, 2)
                if not 0 <= layer < len(network.layers) or value.shape[0] != rows or name != f"{place}/mu/{layer}":
                    raise FormatError(f"{name}: does not fit a layer and {rows} rows")
                by_layer[layer] = value
        return by_layer

    def input(self, name: str, network: Layered) -> Ints:
        """A u8 array of the input's size and range, centred: (rows, inputs)."""
        self.used.add(name)
        value = self.arrays[name]
        if value.dtype != np.uint8 or value.shape[-1] != network.sizes[0] or value.ndim > 2 or not value.size:
            raise FormatError(
                f"{name}: is uint8 of {network.sizes[0]} elements, not {value.dtype} of shape {value.shape}"
            )
        if int(value.min()) < network.limits[0] or int(value.max()) > network.limits[1]:
            raise FormatError(f"{name}: leaves the input's effective range {network.limits}")
        return value.reshape(-1, network.sizes[0]).astype(np.int64) - network.zeros[0]

    def unused(self) -> list[str]:
        """A finding if there are arrays that nothing has read."""
        extra = sorted(set(self.arrays) - self.used)
        return [f"holds arrays that claim nothing: {extra[:3]}"] if extra else []


def verdict_of(check: Callable[[], list[str]]) -> Verdict:
    """Findings of a check as a verdict.

    Raises:
        FormatError: the check stumbled over data that is malformed.
    """
    try:
        findings = check()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise FormatError(f"the program or its certificate is malformed: {type(error).__name__}: {error}") from error
    return Verdict(tuple(Finding("", finding) for finding in findings))


def edited(claims: Claims) -> list[str]:
    """A finding if header and arrays are not those that were sealed."""
    fits = claims.header["sha256"] == seal_of(claims.header, claims.arrays)
    return [] if fits else ["has been edited: its own digest does not fit"]


def seal_of(certificate: Mapping[str, Any], arrays: NamedArrays) -> str:
    """sha256 of everything in a certificate but its digest."""
    return digest(certificate, arrays, omitted="sha256")


def members_of(claims: Claims, network: Layered, x: Ints) -> Box | Ints:
    """The set: a box, or the rows of a list; a ball is what its radius says.

    Args:
        claims: whose header describes it.
        network: whose inputs they are.
        x: (1, inputs) centre.
    """
    description = claims.header["set"]
    if description["kind"] == "list":
        return claims.input("set/inputs", network)
    lo, hi = (claims.input(name, network) for name in ("set/lo", "set/hi"))
    if len(lo) != 1 or len(hi) != 1 or (lo > x).any() or (x > hi).any():
        raise FormatError("the box does not hold the input")
    if description["kind"] == "ball":
        radius, (least, most) = description["radius"], (end - network.zeros[0] for end in network.limits)
        if type(radius) is not int or description["norm"] != "inf":
            raise FormatError("a ball has a whole radius in the inf norm")
        if (lo != np.maximum(x - radius, least)).any() or (hi != np.minimum(x + radius, most)).any():
            raise FormatError(f"the box is not the ball of radius {radius}")
    elif description["kind"] != "box":
        raise FormatError(f"knows no set {str(description['kind'])[:40]!r}")
    return lo, hi


def inputs_of(members: Box | Ints) -> Iterator[Ints]:
    """Rows of a list, or every input of a box, mixed radix; in parts.

    Raises:
        FormatError: a box of more than ``MOST_INPUTS``.
    """
    if not isinstance(members, tuple):
        yield members
        return
    lo, hi = members[0][0], members[1][0]
    widths = [int(width) for width in hi - lo + 1]
    count = 1
    for width in widths:
        count *= width
    if count > MOST_INPUTS:
        raise FormatError(f"a set of {count} inputs is too many to run")
    free = [at for at, width in enumerate(widths) if width > 1]
    for begin in range(0, count, 1024):
        remainder: NDArray[np.int64] = np.arange(begin, min(begin + 1024, count))
        rows = np.repeat(lo[None], len(remainder), axis=0)
        for at in free:
            remainder, digit = np.divmod(remainder, widths[at])
            rows[:, at] += digit
        yield rows


def run_points(network: Layered, x: Ints) -> Iterator[Spans]:
    """Everything about single inputs, some at once: a run is a range of one input.

    Raises:
        FormatError: a layer's value does not follow from one input.
    """
    for begin in range(0, len(x), AT_ONCE):
        part = x[begin : begin + AT_ONCE]
        span = Spans(network, (part, part), {}, len(network.layers) - 1)
        for at, ends in enumerate(span.tensors):
            exact = at == 0 or not isinstance(network.layers[at - 1], Summing | Reading) or (ends[0] == ends[1]).all()
            if not exact:
                raise FormatError(f"layer {at - 1}: one input gives two values")
        yield span
