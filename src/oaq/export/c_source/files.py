"""The texts of the files: header, source, constants, self-test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from math import prod
from typing import Final

from oaq.export.c_source.nodes import Call, Emission, calls, fragments
from oaq.export.c_source.storage import Storage, plan_storage
from oaq.export.c_source.text import Constants, comment, identifiers, initializer, number, quoted
from oaq.numerics.formats import U8
from oaq.operators import TensorSpec
from oaq.overflow.analyze import analyze
from oaq.program.int_program import IntProgram
from oaq.seal.inputs import FIRST_MIX, GOLDEN, SECOND_MIX
from oaq.seal.signature import SAMPLES

FLOAT_CHECKS: Final = """\
#if defined(__FAST_MATH__)
#error "compile without -ffast-math: results of float32 arithmetic are rounded as IEEE 754 says"
#endif
"""
QUANTIZE: Final = """\
void {net}_quantize_{name}(const float *real, uint8_t *q) {{
  static const struct requantize to = {{.zero = {zero}, .low = {lo}, .high = {hi}}};
  int32_t i;
  for (i = 0; i < {size}; i++) {{
    volatile float steps = real[i] / {scale};
    q[i] = nearest(&to, steps);
  }}
}}
"""
DEQUANTIZE: Final = """\
void {net}_dequantize_{name}(const uint8_t *q, float *real) {{
  int32_t i;
  for (i = 0; i < {size}; i++) real[i] = rounded_product(q[i] - {zero}, {scale});
}}
"""
CHECK: Final = """\
  for (i = 0; i < {size}; i++)
    if ({conditions}) return {number};
"""


@dataclass(frozen=True, eq=False)
class Edge:
    """An input or output as the caller sees it: its name in C, which begins with in_ or out_, and its tensor."""

    name: str
    spec: TensorSpec

    @property
    def size(self) -> int:
        """Integers of one sample."""
        return prod(self.spec.shape)


@dataclass(frozen=True, eq=False)
class Network:
    """All that the files say.

    Attributes:
        net: prefix of every public name.
        title: of the program, as a comment.
        inputs, outputs: in the program's order.
        calls: in execution order, each with the name of its node.
        storage: of tensors.
        constants: arrays.
        signature: that the self-test expects.
    """

    net: str
    title: str
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    calls: tuple[tuple[str, Call], ...]
    storage: Storage
    constants: Constants
    signature: str


def network_of(program: IntProgram, net: str, signature: str) -> Network:
    """Prove the program, lay out its tensors, turn its nodes into calls.

    Raises:
        AccumulatorOverflow: a sum is not proved to fit 32 bits.
        UnsupportedOp: C export knows no function for an operator.
    """
    inputs, outputs = (
        tuple(Edge(f"{word}_{name}", program.tensors[key]) for key, name in zip(keys, identifiers(keys), strict=True))
        for word, keys in (("in", program.inputs), ("out", program.outputs))
    )
    callers = {edge.spec.name: edge.name for edge in (*outputs, *inputs)}  # an input that is an output is read as input
    storage = plan_storage(program, callers)
    emission = Emission(program, analyze(program), Constants())
    steps = [
        (node.name, call)
        for node in program.nodes
        if node.name not in storage.in_place
        for call in calls(emission, node)
    ]
    steps += [
        (name, Call("copy", {"size": prod(program.tensors[name].shape)}, (name,), name))
        for name in program.outputs
        if name in program.inputs
    ]
    title = comment(program.name)
    return Network(net, title, inputs, outputs, tuple(steps), storage, emission.constants, signature)


def header(network: Network, version: str) -> str:
    """``NET.h``."""
    net, guard = network.net, f"{network.net.upper()}_H"
    lines = [
        f"/* {network.title}, by oaq {comment(version)}.",
        "   Takes a sample at a time, in the caller's memory, and keeps no state: it allocates nothing, needs no",
        "   library, and several threads may run it, each with an arena of its own. Buffers do not overlap. */",
        f'#ifndef {guard}\n#define {guard}\n#include <stdint.h>\n\n#ifdef __cplusplus\nextern "C" {{\n#endif\n',
        f"#define {net.upper()}_ARENA_BYTES {max(network.storage.size, 1)} /* declare: static uint8_t arena[...]; */",
        f"#define {net.upper()}_CONSTANT_BYTES {network.constants.size}",
        f'#define {net.upper()}_SIGNATURE "{network.signature}"\n',
    ]
    for word, edges in (("input", network.inputs), ("output", network.outputs)):
        lines += [text for edge in edges for text in _edge_lines(net, word, edge)]
    lines += [
        "\n/* 0; or the number, from 1, of the first input that holds an integer outside of its range. */",
        f"{_prototype(network)};\n",
        "/* Real values to integers, nearest, halves to even, clamped (no number: the lowest), and back; in the order",
        "   of the tensor, channels last. */",
        *(f"void {net}_quantize_{edge.name}(const float *real, uint8_t *q);" for edge in network.inputs),
        *(f"void {net}_dequantize_{edge.name}(const uint8_t *q, float *real);" for edge in network.outputs),
        "\n#ifdef __cplusplus\n}\n#endif\n#endif",
    ]
    return "\n".join(lines) + "\n"


def constants(network: Network) -> str:
    """``NET_constants.h``: the arrays, included by the source alone."""
    return "\n".join(network.constants.definitions)


def source(network: Network) -> str:
    """``NET.c``."""
    net = network.net
    parts = [f'/* {network.title}: see {net}.h */\n#include "{net}.h"\n\n#include <stddef.h>\n', FLOAT_CHECKS]
    parts += [fragment(name) for name in fragments(call.function for _, call in network.calls)]
    parts.append(f'#include "{net}_constants.h"\n')
    for index, (node, call) in enumerate(network.calls):
        fields = "".join(f"    .{name} = {initializer(value)},\n" for name, value in call.fields.items())
        parts.append(f"/* {comment(node)} */\nstatic const struct {call.function} node_{index} = {{\n{fields}}};\n")
    parts.append("\n".join([f"{_prototype(network)} {{", *_body(network), "}\n"]))
    for template, edges in ((QUANTIZE, network.inputs), (DEQUANTIZE, network.outputs)):
        for edge in edges:
            affine, reach = edge.spec.affine, edge.spec.range
            numbers = {"zero": affine.zero_point, "scale": number(affine.scale), "lo": reach.lo, "hi": reach.hi}
            parts.append(template.format(net=net, name=edge.name, size=edge.size, **numbers))
    return "\n".join(parts)


def selftest(network: Network) -> str:
    """``NET_selftest.c``: a program that computes the signature that ``oaq verify`` states, and compares."""
    net, samples = network.net, SAMPLES
    parts = [
        f"/* Computes the signature of {network.title}: SHA-256 of its outputs on fixed pseudo-random inputs. */",
        f'#include "{net}.h"\n\n#include <stddef.h>\n#include <stdio.h>\n#include <string.h>\n',
        fragment("sha256"),
        _fill(),
        f"static uint8_t arena[{net.upper()}_ARENA_BYTES];",
    ]
    parts += [f"static uint8_t {edge.name}[{edge.size}];" for edge in (*network.inputs, *network.outputs)]
    arguments = ", ".join(["arena", *(edge.name for edge in (*network.inputs, *network.outputs))])
    parts.append("\nstatic int run_sample(uint64_t sample) {")
    start = 0
    for edge in network.inputs:
        reach = edge.spec.range
        parts.append(f"  fill({edge.name}, {edge.size}, {start} + sample * {edge.size}, {reach.lo}, {reach.hi});")
        start += samples * edge.size
    parts.append(f"  return {net}_run({arguments});\n}}\n\nint main(void) {{")
    parts.append("  struct sha256 hash = SHA256_START;\n  char signature[65];\n  uint64_t sample;")
    for edge in network.outputs:
        head = f"{edge.spec.name}\n{(samples, *edge.spec.shape)}\n"
        parts.append(f"  sha256_add(&hash, (const uint8_t *){quoted(head)}, {len(head.encode())});")
        parts.append(f"  for (sample = 0; sample < {samples}; sample++) {{\n    if (run_sample(sample) != 0) return 2;")
        parts.append(f"    sha256_add(&hash, {edge.name}, {edge.size});\n  }}")
    parts.append('  sha256_end(&hash, signature);\n  printf("signature: %s\\n", signature);')
    parts.append(f"  if (strcmp(signature, {net.upper()}_SIGNATURE) == 0) return 0;")
    parts.append(f'  printf("expected:  %s\\n", {net.upper()}_SIGNATURE);\n  return 1;\n}}')
    return "\n".join(parts) + "\n"


def fragment(name: str) -> str:
    """The text of one file of ``fragments``."""
    return resources.files("oaq.export.c_source").joinpath("fragments", f"{name}.c").read_text(encoding="utf-8")


def _prototype(network: Network) -> str:
    arguments = ["uint8_t *arena"]
    arguments += [f"const uint8_t *{edge.name}" for edge in network.inputs]
    arguments += [f"uint8_t *{edge.name}" for edge in network.outputs]
    return f"int {network.net}_run({', '.join(arguments)})"


def _edge_lines(net: str, word: str, edge: Edge) -> Iterator[str]:
    name, affine, reach = f"{net}_{edge.name}".upper(), edge.spec.affine, edge.spec.range
    yield f"/* {word} {comment(edge.spec.name)}: {edge.spec.shape}, channels last, in [{reach.lo}, {reach.hi}] */"
    yield f"#define {name}_SIZE {edge.size}"
    yield f"#define {name}_SCALE {number(affine.scale)} /* real = SCALE * (q - ZERO) */"
    yield f"#define {name}_ZERO {affine.zero_point}"


def _body(network: Network) -> Iterable[str]:
    checks = [
        CHECK.format(size=edge.size, conditions=_outside(edge), number=index)
        for index, edge in enumerate(network.inputs, start=1)
        if edge.spec.range != U8
    ]
    if checks:
        yield "  int32_t i;"
    yield "  (void)arena;"
    for check in checks:
        yield check.rstrip("\n")
    outputs = {edge.spec.name: edge.name for edge in network.outputs}
    for index, (_, call) in enumerate(network.calls):
        arguments = [network.storage.places[name] for name in call.inputs]
        arguments.append(outputs.get(call.output) or network.storage.places[call.output])
        yield f"  {call.function}(&node_{index}, {', '.join(arguments)});"
    yield "  return 0;"


def _outside(edge: Edge) -> str:
    low, high = edge.spec.range.lo, edge.spec.range.hi
    conditions = [f"{edge.name}[i] < {low}"] if low > U8.lo else []
    return " || ".join([*conditions, *([f"{edge.name}[i] > {high}"] if high < U8.hi else [])])


def _fill() -> str:
    text = fragment("fill")
    for name, value in (("GOLDEN", GOLDEN), ("FIRST_MIX", FIRST_MIX), ("SECOND_MIX", SECOND_MIX)):
        text = text.replace(name, f"0x{value:016x}u")
    return text
