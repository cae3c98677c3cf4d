"""``IntProgram``: a network whose every value is an integer of known range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from types import MappingProxyType

from oaq.errors import ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.formats import S32, U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import SEMANTICS, Semantics
from oaq.program import ops
from oaq.program.pickling import flatten, rebuild
from oaq.program.shapes import Shape, output_shape

LARGEST_TENSOR = 1 << 31
"""One sample's tensor holds fewer integers than this, so that 32 bits index it."""


@dataclass(frozen=True)
class TensorSpec:
    """A u8 tensor: its shape, what its integers mean, which of them can occur.

    Attributes:
        name: unique in the program.
        shape: of one sample, NHWC: (H, W, C) or (C,), all >= 1.
        affine: real = scale * (q - zero_point).
        range: effective range, inside [0, 255], holding the zero point; whoever writes the tensor clamps to it.
    """

    name: str
    shape: Shape
    affine: Affine
    range: IntRange = U8

    def __post_init__(self) -> None:
        if not self.name:
            raise ProgramError("a tensor needs a name")
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            raise ProgramError(f"{self.name}: a shape is (H, W, C) or (C,), all >= 1, not {self.shape}")
        if prod(self.shape) >= LARGEST_TENSOR:
            raise ProgramError(f"{self.name}: {self.shape} holds {prod(self.shape)} integers; the limit is 2**31 - 1")
        if not U8.contains(self.range):
            raise ProgramError(f"{self.name}: the effective range {self.range} leaves u8")
        if self.affine.zero_point not in self.range:
            raise ProgramError(
                f"{self.name}: zero point {self.affine.zero_point} lies outside the effective range {self.range}, "
                "so 0.0 (and padding) could not be stored"
            )

    @property
    def channels(self) -> int:
        """Size of the last axis."""
        return self.shape[-1]


@dataclass(frozen=True, eq=False)
class Node:
    """One operator applied: which tensors it reads, which single tensor it writes."""

    name: str
    op: ops.Op
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, eq=False)
class IntProgram:
    """A network of exact integers, in execution order.

    Constructing one checks it: what cannot run cannot be constructed.

    Attributes:
        name: for people.
        inputs: tensors the caller provides.
        outputs: tensors the caller receives.
        tensors: every tensor by name.
        nodes: topologically ordered; every tensor is an input or written by exactly one node.
        requantize: the semantics every requantizing node uses.
        metadata: free text for people and front ends ("source", "input_layout" of the caller: "NCHW" or "NHWC", ...).

    Raises:
        ProgramError: an invariant above does not hold; the message names the node or tensor.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, TensorSpec]
    nodes: tuple[Node, ...]
    requantize: Semantics = "float32_half_even"
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))
        self.validate()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy by the constructor."""
        return rebuild, (flatten(self),)

    def validate(self) -> None:
        """Check every invariant; called by the constructor and after loading.

        Raises:
            ProgramError: see the class.
        """
        if self.requantize not in SEMANTICS:
            raise ProgramError(f"{self.name}: requantize is one of {SEMANTICS}, not {self.requantize!r}")
        if not self.inputs or not self.outputs:
            raise ProgramError(f"{self.name}: a program has at least one input and one output")
        for key, spec in self.tensors.items():
            if key != spec.name:
                raise ProgramError(f"tensor {spec.name!r} is filed under {key!r}")
        _check_names(self)
        written = set(self.inputs)
        for node in self.nodes:
            _check_node(self, node, written)
            written.add(node.output)
        for name in (*self.outputs, *self.tensors):
            if name not in written:
                raise ProgramError(f"{self.name}: nothing writes the tensor {name!r}")

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return MappingProxyType({node.name: node for node in self.nodes})

    def specs(self, node: Node) -> tuple[TensorSpec, ...]:
        """The tensors ``node`` reads."""
        return tuple(self.tensors[name] for name in node.inputs)

    def summing_nodes(self) -> Iterator[Node]:
        """The nodes whose sums need an accumulator schedule: Conv2d and Linear."""
        return (node for node in self.nodes if isinstance(node.op, ops.Conv2d | ops.Linear))


def _check_names(program: IntProgram) -> None:
    for what, names in (
        ("input", program.inputs),
        ("output", program.outputs),
        ("node", tuple(node.name for node in program.nodes)),
    ):
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ProgramError(f"{program.name}: two {what}s are called {twice!r}")
    for name in (*program.inputs, *program.outputs):
        if name not in program.tensors:
            raise ProgramError(f"{program.name}: {name!r} is no tensor of the program")


def _check_node(program: IntProgram, node: Node, written: set[str]) -> None:
    where = f"{program.name}, node {node.name!r}"
    for name in node.inputs:
        if name not in written:
            raise ProgramError(f"{where}: reads {name!r} before anything has written it")
    if node.output in written:
        raise ProgramError(f"{where}: writes {node.output!r}, which is written already")
    if node.output not in program.tensors:
        raise ProgramError(f"{where}: writes {node.output!r}, which is no tensor of the program")
    inputs, output = program.specs(node), program.tensors[node.output]
    try:
        shape = output_shape(node.op, [spec.shape for spec in inputs])
    except ProgramError as error:
        raise ProgramError(f"{where}: {error}") from error
    if shape != output.shape:
        raise ProgramError(f"{where}: computes {shape}, but {node.output!r} is declared {output.shape}")
    requantize = getattr(node.op, "requantize", None)
    if requantize is not None and requantize.semantics != program.requantize:
        raise ProgramError(f"{where}: requantizes by {requantize.semantics}, the program by {program.requantize}")
    if isinstance(node.op, ops.SAME_AFFINE):
        _check_movement(where, inputs[0], output)
    if isinstance(node.op, ops.Lookup):
        _check_table(where, node.op, inputs[0], output)
    if isinstance(node.op, ops.Conv2d | ops.Linear):
        _check_total(where, node.op, inputs[0])


def _check_movement(where: str, x: TensorSpec, y: TensorSpec) -> None:
    if x.affine != y.affine:
        raise ProgramError(
            f"{where}: moves integers, so both sides share one affine map, not {x.affine} and {y.affine}"
        )
    if not y.range.contains(x.range):
        raise ProgramError(f"{where}: moves integers of {x.range} into {y.range}, which does not hold them")


def _check_table(where: str, op: ops.Lookup, x: TensorSpec, y: TensorSpec) -> None:
    reached = op.table[x.range.lo : x.range.hi + 1]
    if int(reached.min()) < y.range.lo or int(reached.max()) > y.range.hi:
        raise ProgramError(
            f"{where}: the table maps {x.range} to integers {reached.min()}..{reached.max()}, outside {y.range}"
        )


def _check_total(where: str, op: ops.Conv2d | ops.Linear, x: TensorSpec) -> None:
    """The s32 total by its crudest bound, so that every later sum may trust 32 (and the reference 64) bits."""
    terms = op.weight[0].size
    reach = max(abs(x.range.lo - x.affine.zero_point), abs(x.range.hi - x.affine.zero_point), x.range.hi)
    if terms * reach * 255 >= 1 << 62:
        raise ProgramError(f"{where}: {terms} terms of size {reach * 255} are beyond {S32} and any proof here")
