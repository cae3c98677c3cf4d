"""``IntProgram``: a network whose every value is an integer of known range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from oaq.errors import ProgramError
from oaq.numerics.requantize import SEMANTICS, Semantics
from oaq.operators import Op, Products, TensorSpec, output_shape, rules_of
from oaq.program.pickling import flatten, rebuild
from oaq.terminal.shown import in_a_line, in_a_notebook


@dataclass(frozen=True, eq=False)
class Node:
    """One operator applied: which tensors it reads, which single tensor it writes."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    output: str

    @property
    def products(self) -> Products:
        """The operator, as one that sums products.

        Raises:
            ProgramError: it sums none.
        """
        if not isinstance(self.op, Products):
            raise ProgramError(f"{self.name}: {type(self.op).__name__} sums no products")
        return self.op


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
        requantize: the semantics of nodes that sum products, unless a node of a float32 program is fixed-point. Other
            nodes carry their own: a runtime that requantizes sums in float32 may add and average in integers.
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

    def __repr__(self) -> str:
        shapes = [", ".join(str(self.tensors[name].shape) for name in names) for names in (self.inputs, self.outputs)]
        layers = sum(1 for _ in self.summing_nodes())
        return in_a_line(
            "IntProgram", self.name, [("nodes", len(self.nodes)), ("layers", layers), ("", " to ".join(shapes))]
        )

    def _repr_html_(self) -> str:
        rows = [
            (node.name, type(node.op).__name__, ", ".join(node.inputs), self.tensors[node.output].shape)
            for node in self.nodes
        ]
        return in_a_notebook(repr(self), ("node", "operator", "reads", "gives"), rows)

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
        _check_text(self)
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
        """The nodes whose sums need an accumulator schedule: operators that sum products, Conv2d and Linear."""
        return (node for node in self.nodes if isinstance(node.op, Products))


def _check_text(program: IntProgram) -> None:
    """Names and free text are text: a lone half of a surrogate pair cannot be written to any file, or hashed."""
    nodes = (name for node in program.nodes for name in (node.name, *node.inputs, node.output))
    for text in (program.name, *program.tensors, *nodes, *program.metadata, *program.metadata.values()):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ProgramError(
                f"{text!r}: is not Unicode text (a lone surrogate at letter {error.start}); rename it"
            ) from error


def _check_names(program: IntProgram) -> None:
    for kind, names in (
        ("input", program.inputs),
        ("output", program.outputs),
        ("node", tuple(node.name for node in program.nodes)),
    ):
        if len(set(names)) != len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise ProgramError(f"{program.name}: two {kind}s are called {repeated!r}")
    for name in (*program.inputs, *program.outputs):
        if name not in program.tensors:
            raise ProgramError(f"{program.name}: {name!r} is not a tensor of the program")


def _check_node(program: IntProgram, node: Node, written: set[str]) -> None:
    where = f"{program.name}, node {node.name!r}"
    for name in node.inputs:
        if name not in written:
            raise ProgramError(f"{where}: reads {name!r} before anything has written it")
    if node.output in written:
        raise ProgramError(f"{where}: writes {node.output!r}, which is written already")
    if node.output not in program.tensors:
        raise ProgramError(f"{where}: writes {node.output!r}, which is not a tensor of the program")
    inputs, output = program.specs(node), program.tensors[node.output]
    try:
        shape = output_shape(node.op, [spec.shape for spec in inputs])
    except ProgramError as error:
        raise ProgramError(f"{where}: {error}") from error
    if shape != output.shape:
        raise ProgramError(f"{where}: computes {shape}, but {node.output!r} is declared {output.shape}")
    semantics = node.op.requantize.semantics if isinstance(node.op, Products) else program.requantize
    if program.requantize == "fixed_point" and semantics == "float32_half_even":
        raise ProgramError(f"{where}: requantizes by {semantics}, the program by {program.requantize}")
    rules = rules_of(node.op)
    if rules.same_affine:
        _check_movement(where, inputs[0], output)
    if rules.check is not None:
        try:
            rules.check(node.op, inputs, output)
        except ProgramError as error:
            raise ProgramError(f"{where}: {error}") from error


def _check_movement(where: str, x: TensorSpec, y: TensorSpec) -> None:
    if x.affine != y.affine:
        raise ProgramError(
            f"{where}: moves integers, so both sides share one affine map, not {x.affine} and {y.affine}"
        )
    if not y.range.contains(x.range):
        raise ProgramError(f"{where}: moves integers of {x.range} into {y.range}, which does not hold them")
