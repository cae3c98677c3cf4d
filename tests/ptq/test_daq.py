"""DAQ after training: levels of each channel, folded or of each image, and what the proof makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import oaq
from oaq import operators as ops
from oaq.capture.from_torch import normalize
from oaq.errors import CalibrationError, UnsupportedOp
from oaq.export import onnx as export_onnx
from oaq.program.int_program import IntProgram, Node
from oaq.ptq import Daq, Options, Uniform
from oaq.ptq.channel_moments import measure_channels, rectified_channels
from oaq.ptq.daq import TABLES, midrise_weights, mixed_bits, rounded_deviations, step_of
from oaq.ptq.levelled import chosen_layers, levelled
from oaq.ptq.levels import FARTHEST, static_levels, windows_of
from oaq.reference import run

SIDE = 12


class Blocks(nn.Module):
    """A head, two residual blocks whose channels differ in size, and a tail."""

    def __init__(self, width: int = 6, shift: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head = nn.Conv2d(1, width, 3, padding=1)
        self.first = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.second = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.tail = nn.Conv2d(width, 1, 3, padding=1)
        with torch.no_grad():
            self.head.weight.mul_(2.0 ** torch.linspace(-2, 1, width).view(-1, 1, 1, 1))
            self.head.bias.add_(shift)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.head(x)
        for first, second in zip(self.first, self.second, strict=True):
            y = y + second(F.relu(first(y)))
        return self.tail(y)


def batches(count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((4, 1, SIDE, SIDE)).astype(np.float32) for _ in range(count)]


def program_of(daq: Daq | None, net: nn.Module | None = None) -> IntProgram:
    return oaq.quantize((net or Blocks()).eval(), batches(), budget=None, daq=daq)


def error_of(program: IntProgram, net: nn.Module) -> float:
    x = np.concatenate(batches())
    with torch.inference_mode():
        exact = net(torch.from_numpy(x)).numpy()
    return float(((oaq.Session(oaq.plan(program)).run(x) - exact) ** 2).mean())


def nodes_of(program: IntProgram, kind: type[ops.Op]) -> list[Node]:
    return [node for node in program.nodes if isinstance(node.op, kind)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bits": 1}, "bits: 2 to 6 bits, not 1"),
        ({"bits": 7}, "bits: 2 to 6 bits, not 7"),
        ({"bits": True}, "bits: 2 to 6 bits, not True"),
        ({"mode": "both"}, "mode is one of static, dynamic"),
        ({"table": "cauchy"}, "table is one of paper, gauss"),
        ({"weights": "odd"}, "weights is one of symmetric, midrise"),
        ({"weights": "midrise", "weight_bits": 8}, "weight_bits: 2 to 7 bits, not 8"),
        ({"weight_bits": 9}, "weight_bits: 2 to 8 bits"),
        ({"sigma_bits": 1}, "sigma_bits: 2 to 8 bits"),
        ({"mode": "dynamic", "sigma_bits": 4}, "dynamic steps are whole numbers already"),
        ({"mode": "dynamic", "table": "minmax"}, "minmax is of calibration data"),
        ({"layers": "("}, "is not a regular expression"),
    ],
)
def test_choices_that_there_are_not_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        Daq(**fields)  # type: ignore[arg-type]


def test_bits_are_said_once() -> None:
    with pytest.raises(CalibrationError, match="daq says what bits layers and their weights have"):
        Options(uniform=Uniform(), daq=Daq())
    with pytest.raises(CalibrationError, match="leave uniform and weights out"):
        Options(weights="piecewise", daq=Daq())


def test_the_released_table_is_entered_a_bit_too_low() -> None:
    assert step_of("paper", 4) == step_of("gauss", 3) == 0.586
    assert all(step_of(table, bits) > step_of(table, bits + 1) for table in TABLES for bits in range(1, 7))


@pytest.mark.parametrize("weight", [[0.0], [1.0], [0.0, 0.0, 0.0], [1e-9, 1.0, 1e9], [1, 1, 1, 1], [0, 1, 2, 4, 8]])
def test_mixed_bits_keep_their_mean(weight: list[float]) -> None:
    for bits in (2, 4, 6):
        result = mixed_bits(np.array(weight, float), bits)
        assert result.sum() == bits * len(weight)
        assert result.min() >= bits - 1 and result.max() <= bits + 1
    if len(set(weight)) > 1:
        assert np.all(np.diff(mixed_bits(np.array(weight, float), 4)) >= 0)


def test_no_deviation_is_rounded_to_nothing() -> None:
    """The released code makes 0 or less of small ones, and the channel becomes its mean."""
    spread = np.array([0.01, 0.02, 0.5, 3.0, 40.0])
    for bits in (2, 4, 8):
        assert (rounded_deviations(spread, "paper", bits) > 0).all()
    assert np.array_equal(rounded_deviations(np.array([0.3]), "paper", 4), [0.3])
    assert np.array_equal(rounded_deviations(np.full(3, 0.3), "paper", 4), np.full(3, 0.3))


def test_midrise_weights_are_odd_and_hold_no_zero() -> None:
    rows = np.array([[-1000.0, -0.1, 0.0, 0.1, 1.0, 1000.0]])
    for bits in (2, 4, 7):
        weight = midrise_weights(rows, np.ones(1), bits)
        assert (weight % 2 == 1).all() and weight.max() == 2**bits - 1 and weight.min() == -(2**bits - 1)
    assert midrise_weights(rows, np.ones(1), 4).tolist() == [[-15, -1, 1, 1, 1, 15]]


def test_a_channel_is_rectified_by_what_wrote_it_and_not_by_data() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 3, 3), nn.Conv2d(5, 1, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(F.max_pool2d(torch.cat([F.relu(self.a(x)), self.b(x)], dim=1), 2))

    graph = normalize(Mixed().eval(), torch.zeros(1, 1, SIDE, SIDE))
    last = next(node for node in graph.nodes if node.name == "c")
    assert rectified_channels(graph, last.inputs[0]).tolist() == [True, True, False, False, False]
    assert not rectified_channels(graph, graph.inputs[0]).any()


def test_first_and_last_layers_read_eight_bits_unless_they_are_named() -> None:
    graph = normalize(Blocks().eval(), torch.zeros(1, 1, SIDE, SIDE))
    names = {node.name for node in chosen_layers(graph, Daq())}
    assert names == {"first.0", "second.0", "first.1", "second.1"}
    assert {node.name for node in chosen_layers(graph, Daq(layers="head|tail"))} == {"head", "tail"}
    with pytest.raises(CalibrationError, match=r"no layer reads levels \('nothing'\).*head, first.0"):
        chosen_layers(graph, Daq(layers="nothing"))
    with pytest.raises(CalibrationError, match="those with more than one position are none"):
        chosen_layers(normalize(nn.Linear(3, 3), torch.zeros(1, 3)), Daq())


@pytest.mark.parametrize("table", TABLES)
def test_static_operands_are_small_channel_by_channel_and_runs_grow(table: str) -> None:
    program, wide = program_of(Daq(4, table=table)), program_of(None)  # type: ignore[arg-type]
    proof = oaq.analyze(program)
    lookups = nodes_of(program, ops.ChannelLookup)
    assert [node.output for node in lookups] == [f"{node.inputs[0]}.levels" for node in lookups] and len(lookups) == 2
    for node in lookups:
        channels = proof.ranges[node.output]
        assert (channels.hi - channels.lo).max() <= 15
        assert program.tensors[node.output].affine.scale == 1.0
    for name in ("second.0", "second.1"):
        read = next(node for node in program.nodes if node.name == name).inputs[0]
        assert program.tensors[read].range.hi == 15 and program.tensors[read].affine.zero_point == 0
    runs = [
        [node.schedule.average_run for node in oaq.plan(made, isa="avx2").nodes if node.node.name.startswith("second")]
        for made in (program, wide)
    ]
    assert all(narrow >= before for narrow, before in zip(*runs, strict=True)), runs


@pytest.mark.parametrize("shift", [-60.0, 60.0])
def test_windows_that_do_not_hold_zero_stay_within_256_integers(shift: float) -> None:
    """Channels whose mean is hundreds of deviations away."""
    net = Blocks(shift=shift).eval()
    program = program_of(Daq(4, table="gauss"), net)
    spec = program.tensors[nodes_of(program, ops.ChannelLookup)[0].output]
    assert spec.range.lo == 0 and spec.range.hi <= 255 and spec.affine.zero_point in spec.range
    with torch.inference_mode():
        power = float(net(torch.from_numpy(np.concatenate(batches()))).var())
    assert error_of(program, net) < power
    oaq.verify(program).raise_if_unsafe()


@pytest.mark.parametrize("mode", ["static", "dynamic"])
@pytest.mark.parametrize("table", ["mse", "paper"])
def test_dead_and_constant_channels_are_taken(mode: str, table: str) -> None:
    net = Blocks().eval()
    with torch.no_grad():
        net.first[0].weight[0], net.first[0].bias[0] = 0.0, -1.0  # a ReLU that never fires
        net.first[0].weight[1], net.first[0].bias[1] = 0.0, 3.0  # and a constant
        net.head.weight[2], net.head.bias[2] = 0.0, 0.5
    program = program_of(Daq(4, mode, table), net)  # type: ignore[arg-type]
    with torch.inference_mode():
        power = float(net(torch.from_numpy(np.concatenate(batches()))).var())
    assert error_of(program, net) < 0.2 * power
    oaq.verify(program).raise_if_unsafe()


def test_levels_by_channel_lose_less_than_one_grid_for_all() -> None:
    net = Blocks().eval()
    errors = {table: error_of(program_of(Daq(4, table=table)), net) for table in TABLES}  # type: ignore[arg-type]
    assert errors["mse"] < errors["minmax"] < errors["minmax_tensor"]
    assert errors["gauss"] < errors["minmax_tensor"] and errors["laplace"] < errors["minmax_tensor"]
    by_bits = [error_of(program_of(Daq(bits)), net) for bits in (2, 3, 4, 6)]
    assert by_bits == sorted(by_bits, reverse=True)


def test_steps_of_a_tensor_are_not_too_unlike_and_windows_hold_what_they_say() -> None:
    graph = normalize(Blocks().eval(), torch.zeros(1, 1, SIDE, SIDE))
    tensor = next(node for node in graph.nodes if node.name == "first.0").inputs[0]
    samples = [{graph.inputs[0]: torch.from_numpy(x)} for x in batches()]
    moments = measure_channels(graph, samples, [tensor], per_image=False)[tensor]
    for daq in (Daq(2, table="paper", sigma_bits=4), Daq(6), Daq(3, table="minmax")):
        levels = static_levels(moments, daq, np.full(6, daq.bits))
        assert levels.step.max() / levels.step.min() <= FARTHEST * (1 + 1e-9)
        zero_point, ends, largest = windows_of(levels)
        assert all(zero_point + lo >= 0 and zero_point + hi <= largest <= 255 for lo, hi in ends)


def test_mixed_channels_have_their_own_windows() -> None:
    program = program_of(Daq(4, mixed=True))
    proof = oaq.analyze(program)
    widths = [proof.ranges[node.output] for node in nodes_of(program, ops.ChannelLookup)]
    tops = {int(span) for channels in widths for span in channels.hi - channels.lo}
    assert tops <= {7, 15, 31} and len(tops) > 1
    coarse = nodes_of(program_of(Daq(4, "dynamic", mixed=True)), ops.Coarsen)
    assert {int(node.op.bits.sum()) for node in coarse} == {24}  # type: ignore[attr-defined]


def test_dynamic_levels_are_of_each_image_natively_as_in_the_reference(tmp_path: Path) -> None:
    program = program_of(Daq(3, "dynamic"))
    rectified = [node.op.rectified.tolist() for node in nodes_of(program, ops.Coarsen)]  # type: ignore[attr-defined]
    assert rectified == [[0] * 6, [1] * 6, [0] * 6, [1] * 6]
    x = np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE, 1)).astype(np.uint8)
    exact = run(program, x)
    np.testing.assert_array_equal(oaq.Session(oaq.plan(program)).run_integers(x)[0], exact.outputs[0])
    for node in nodes_of(program, ops.Coarsen):
        values = exact.tensors[node.output]
        assert all(len(np.unique(image[..., channel])) <= 8 for image in values for channel in range(6))
    oaq.save(program, tmp_path / "net.oaq")
    oaq.verify(oaq.load(tmp_path / "net.oaq")).raise_if_unsafe()


def test_static_programs_are_exported_and_dynamic_ones_refused_by_name(tmp_path: Path) -> None:
    export_onnx(program_of(Daq(4)), tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").exists()
    with pytest.raises(UnsupportedOp, match="Coarsen takes exact statistics"):
        export_onnx(program_of(Daq(4, "dynamic")), tmp_path / "never.onnx")


@pytest.mark.parametrize("rounding", ["axe", "nearest"])
def test_midrise_weights_reach_the_program(rounding: str) -> None:
    program = oaq.quantize(
        Blocks().eval(),
        batches(),
        budget=None,
        daq=Daq(4, weights="midrise", weight_bits=3),
        rounding=rounding,  # type: ignore[arg-type]
    )
    odd = [node for node in program.summing_nodes() if node.name.startswith(("first", "second"))]
    assert len(odd) == 4
    for node in odd:
        assert (node.products.weight % 2 != 0).all() and np.abs(node.products.weight).max() <= 7
    tail = next(node for node in program.summing_nodes() if node.name == "tail")
    assert (tail.products.weight % 2 == 0).any()


def test_the_file_says_how_it_was_quantized() -> None:
    daq = Daq(3, table="paper", sigma_bits=8, weights="midrise", weight_bits=4, mixed=True)
    text = "DAQ static W4A3, paper, deviations of 8 bits, midrise weights, mixed"
    assert str(daq) == text and program_of(daq).metadata["quantized"].startswith(text)


def test_a_tensor_with_other_readers_keeps_its_eight_bits_beside_its_levels() -> None:
    graph = normalize(Blocks().eval(), torch.zeros(1, 1, SIDE, SIDE))
    samples = [{graph.inputs[0]: torch.from_numpy(x)} for x in batches()]
    after = levelled(graph, samples, Daq(layers=r"first\..*")).graph
    adds = [node for node in after.nodes if len(node.inputs) == 2]
    assert not any(name.endswith(".levels") for node in adds for name in node.inputs)
    assert list(after.shapes) == [*after.inputs, *(node.output for node in after.nodes)]
