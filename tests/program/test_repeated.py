"""Weights that several layers have are held once: in files, plans, sessions, ONNX; and bounded once."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

import oaq
from oaq.errors import FormatError, MemoryLimit, NoKernel
from oaq.numerics.affine import Affine
from oaq.numerics.multipliers import layer_multipliers
from oaq.numerics.ranges import ChannelRanges, IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import Conv2d, TensorSpec
from oaq.overflow.analyze import KnownBounds, prove_sums
from oaq.program.files import decode_archive
from oaq.program.int_program import IntProgram, Node
from oaq.program.plain import fingerprint, to_plain
from oaq.program.repeated import REPEATED, with_repeats, without_repeats
from oaq.program.safetensors import decode
from oaq.reference import run
from oaq.runtime.build import load
from oaq.runtime.plan_bytes import plan_bytes

CHANNELS, LEVELS = 40, 3


def spec(name: str, side: int) -> TensorSpec:
    return TensorSpec(name, (side, side, CHANNELS), Affine(0.1, 0), IntRange(0, 255))


def program(*, shared: bool = True, levels: int = LEVELS) -> IntProgram:
    """A head on inputs of several sizes: one weight, biases and multipliers of each level's own."""
    rng = np.random.default_rng(3)
    weights = [rng.integers(-9, 10, (CHANNELS, 3, 3, CHANNELS)).astype(np.int8) for _ in range(levels)]
    tensors, nodes = {}, []
    for level in range(levels):
        x, y = spec(f"x{level}", 2 + level), spec(f"y{level}", 2 + level)
        tensors |= {x.name: x, y.name: y}
        weight = weights[0 if shared else level].copy()
        bias = rng.integers(-99, 99, CHANNELS).astype(np.int32)
        scales = rng.uniform(1e-4, 1e-3, CHANNELS).astype(np.float32)
        multipliers = Requantize(layer_multipliers(x.affine.scale, scales, y.affine.scale))
        op = Conv2d(weight, bias, multipliers, (1, 1), (1, 1, 1, 1), (1, 1), 1)
        nodes.append(Node(f"head:{level}", op, (x.name,), y.name))
    inputs = tuple(f"x{level}" for level in range(levels))
    outputs = tuple(f"y{level}" for level in range(levels))
    return IntProgram("heads", inputs, outputs, tensors, tuple(nodes))


def inputs(net: IntProgram) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    return tuple(rng.integers(0, 256, (2, *net.tensors[name].shape)).astype(np.uint8) for name in net.inputs)


def test_a_file_holds_them_once_and_is_read_back_as_it_was(tmp_path: Path) -> None:
    sizes = {}
    for shared in (True, False):
        net = program(shared=shared)
        oaq.save(net, path := tmp_path / f"{shared}.oaq")
        sizes[shared] = path.stat().st_size
        assert fingerprint(oaq.load(path)) == fingerprint(net)
    weight = program().nodes[0].products.weight.nbytes
    assert sizes[False] - sizes[True] > (LEVELS - 1) * weight - 300


def test_a_file_without_equal_weights_says_nothing_of_it(tmp_path: Path) -> None:
    oaq.save(program(shared=False), path := tmp_path / "net.oaq")
    metadata, arrays = decode(path.read_bytes(), "net")
    assert REPEATED not in metadata
    assert without_repeats(arrays) == (arrays, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "maps names of weights"),
        ('["nodes/1/weight"]', "maps names of weights"),
        ('{"nodes/1/bias": "nodes/0/weight"}', "are not weights of a node"),
        ('{"nodes/1/weight": "nodes/0/bias"}', "are not weights of a node"),
        ('{"nodes/1/weight": 0}', "are not weights of a node"),
        ('{"nodes/0/weight": "nodes/2/weight"}', "the file holds them itself"),
        ('{"nodes/1/weight": "nodes/5/weight"}', "no 'nodes/5/weight' before them"),
        ('{"nodes/1/weight": "nodes/1/weight"}', "no 'nodes/1/weight' before them"),
        ('{"nodes/1/weight": "nodes/0/weight", "nodes/2/weight": "nodes/1/weight"}', "no 'nodes/1/weight' before"),
        (f'{{"nodes/{"9" * 5000}/weight": "nodes/0/weight"}}', "are not weights of a node"),
    ],
)
def test_what_the_metadata_say_is_trusted_in_nothing(text: str, words: str) -> None:
    _, arrays = to_plain(program())
    kept, stated = without_repeats(arrays)
    assert json.loads(stated or "") == {f"nodes/{level}/weight": "nodes/0/weight" for level in (1, 2)}
    with pytest.raises(FormatError, match=words):
        with_repeats(text, kept, "net")


def test_a_small_file_of_many_layers_is_refused_before_they_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.zeros((256, 256), np.int8)
    text = json.dumps({f"nodes/{node}/weight": "nodes/0/weight" for node in range(1, 1001)})
    monkeypatch.setenv("OAQ_MEMORY_LIMIT", str(1000 * weight.nbytes))
    assert len(with_repeats(text, {"nodes/0/weight": weight}, "net")) == 1001
    monkeypatch.setenv("OAQ_MEMORY_LIMIT", str(1000 * weight.nbytes - 1))
    with pytest.raises(MemoryLimit, match="net: 1000 layers with the weights of others"):
        with_repeats(text, {"nodes/0/weight": weight}, "net")


def test_an_edited_reference_does_not_pass_the_checksum(tmp_path: Path) -> None:
    oaq.save(program(), path := tmp_path / "net.oaq")
    content = path.read_bytes().replace(b'nodes/2/weight\\":', b'nodes/3/weight\\":')
    with pytest.raises(FormatError, match="checksum"):
        decode_archive(content, "net")


def test_plan_and_session_hold_them_once_and_compute_the_same() -> None:
    net, apart = program(), program(shared=False)
    plan, other = oaq.plan(net), oaq.plan(apart)
    saved = len(plan_bytes(other)) - len(plan_bytes(plan))
    packed = plan.nodes[0].schedule.packed.nbytes  # type: ignore[union-attr]
    assert saved >= (LEVELS - 1) * packed
    session, beside = oaq.Session(plan), oaq.Session(other)
    assert beside.memory.weights - session.memory.weights == (LEVELS - 1) * packed
    x = inputs(net)
    exact = run(net, x).tensors
    for found, wanted in zip(session.run_integers(x), net.outputs, strict=True):
        assert np.array_equal(found, exact[wanted])


def test_weights_read_again_count_against_the_limit() -> None:
    plan = oaq.plan(program())
    content, packed = plan_bytes(plan), plan.nodes[0].schedule.packed.nbytes  # type: ignore[union-attr]
    arena = oaq.Session(plan).arena.size
    with pytest.raises(oaq.errors.MemoryLimit, match=r"a copy of weights that an earlier step has|of weights"):
        load(content, 1, arena + packed // 2, "heads")


def test_only_packed_weights_may_be_those_of_an_earlier_step() -> None:
    """The place of the first weights in the record of the second step's segments: refused, whatever its length."""
    content = bytearray(plan_bytes(oaq.plan(program(levels=2))))
    packed = oaq.plan(program(levels=2)).nodes[0].schedule.packed.nbytes  # type: ignore[union-attr]
    place = (
        content.rindex(packed.to_bytes(8, "little"), 0, int.from_bytes(content[32:40], "little")) - 8
    )  # of the second step's weights
    content[place + 16 : place + 24] = content[place : place + 8]  # its segments' offset follows
    content[12:16] = zlib.crc32(bytes(content[16:])).to_bytes(4, "little")
    with pytest.raises(NoKernel, match="is not between the last array and the end"):
        load(bytes(content), 1, 1 << 30, "heads")
    content[place + 8 : place + 16] = (packed - 64).to_bytes(8, "little")
    content[12:16] = zlib.crc32(bytes(content[16:])).to_bytes(4, "little")
    with pytest.raises(NoKernel, match="is not between the last array and the end"):
        load(bytes(content), 1, 1 << 30, "heads")


def test_equal_weights_on_equal_operands_are_bounded_once() -> None:
    for net, count in ((program(), 1), (program(shared=False), LEVELS)):
        known = KnownBounds()
        for node in net.nodes:
            x = ChannelRanges.constant(IntRange(0, 255), CHANNELS)
            proof = prove_sums(node, x, net.specs(node)[0], 4, known)
            alone = prove_sums(node, x, net.specs(node)[0], 4)
            for field in ("total", "raw", "raw_partial"):
                ends = (getattr(one, field) for one in (proof, alone))
                first, second = ends
                assert np.array_equal(first.lo, second.lo) and np.array_equal(first.hi, second.hi)
        assert known.derived == count


def test_onnx_holds_them_once(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    oaq.export.onnx(program(), path := tmp_path / "heads.onnx")
    graph = onnx.load(path).graph
    weights = [tensor.name for tensor in graph.initializer if list(tensor.dims) == [CHANNELS, CHANNELS, 3, 3]]
    assert len(weights) == 1
    assert sum(weights[0] in node.input for node in graph.node) == LEVELS
    assert oaq.verify(program(), inputs(program())).is_safe
