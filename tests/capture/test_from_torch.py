"""Every module form that can be taken computes the same through the graph; every other is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from oaq import operators as ops
from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatConv2d, FloatFunction, FloatGraph
from oaq.errors import ProgramError, UnsupportedOp
from oaq.ptq.execute import run_graph

Forward = Callable[[torch.Tensor], torch.Tensor]


class Calls(nn.Module):
    """A module that is one function, with layers to use in it."""

    def __init__(self, forward: Callable[..., object], **layers: nn.Module) -> None:
        super().__init__()
        self.body = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *x: torch.Tensor) -> object:
        return self.body(self, *x)


def trained(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network with batch statistics and weights that are not at their starting values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in (*net.named_parameters(), *net.named_buffers()):
            if not value.is_floating_point():
                continue
            spread = 1.0 if "var" in name else 0.0
            noise = torch.randn(value.shape, generator=generator)
            value.copy_(spread + 0.3 * noise.abs() if "var" in name else value + 0.2 * noise)
    return net.eval()


def agree(net: nn.Module, *x: torch.Tensor, tolerance: float = 1e-5) -> FloatGraph:
    graph = normalize(net, x, "net")
    with torch.no_grad():
        wanted = net(*(each.clone() for each in x))
        values = run_graph(graph, dict(zip(graph.inputs, x, strict=True)))
    expected = wanted if isinstance(wanted, tuple) else (wanted,)
    for name, one in zip(graph.outputs, expected, strict=True):
        got = values[name]
        assert got.shape[1:] == torch.Size(graph.shapes[name])
        torch.testing.assert_close(got, one, rtol=tolerance, atol=tolerance)
    return graph


def image(channels: int = 6, height: int = 9, width: int = 8, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(1))


def _twice_read(x: torch.Tensor) -> torch.Tensor:
    before = x + 1.0
    return before + F.relu_(x) + x


def _through_dropout(x: torch.Tensor) -> torch.Tensor:
    F.dropout(x, training=False).relu_()
    return x + x


def _on_a_clone(x: torch.Tensor) -> torch.Tensor:
    return x.clone().relu_() + x


def _under_a_clone(x: torch.Tensor) -> torch.Tensor:
    before = x.clone()
    return x.relu_() + before


IMAGE_TO_IMAGE: dict[str, nn.Module | Forward] = {
    "linear over columns": nn.Sequential(nn.Conv2d(6, 4, 1), nn.Linear(8, 3), nn.Conv2d(4, 2, 1)),
    "a slope per channel": nn.Sequential(nn.Conv2d(6, 4, 1), nn.PReLU(4), nn.Conv2d(4, 2, 1)),
    "the larger of two": lambda x: torch.maximum(x.relu(), -x),
    "the smaller of two": lambda x: torch.min(x * 0.5, x.permute(0, 1, 3, 2).transpose(2, 3) + 0.25),
    "permute": lambda x: x.relu().permute(0, 2, 1, 3),
    "channel shuffle": lambda x: x.relu().view(2, 2, 3, 9, 8).transpose(1, 2).reshape(2, 6, 9, 8),
    "joined along width": lambda x: torch.cat([x.relu(), x, x], -1),
    "conv": nn.Conv2d(6, 4, 3),
    "conv without bias": nn.Conv2d(6, 4, 3, bias=False),
    "conv, asymmetric": nn.Conv2d(6, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    "conv same": nn.Conv2d(6, 4, 4, padding="same"),
    "conv same, dilated": nn.Conv2d(6, 4, (2, 3), padding="same", dilation=2),
    "conv valid": nn.Conv2d(6, 4, 3, padding="valid"),
    "grouped": nn.Conv2d(6, 9, 3, groups=3, padding=1),
    "depthwise": nn.Conv2d(6, 6, 3, groups=6, padding=1),
    "depthwise, two per channel": nn.Conv2d(6, 12, 3, groups=6),
    "conv, batch norm": nn.Sequential(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4)),
    "conv, batch norm without affine": nn.Sequential(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4, affine=False)),
    "conv, batch norm, relu6": nn.Sequential(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(inplace=True)),
    "batch norm alone": nn.BatchNorm2d(6),
    "batch norm after relu": nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)),
    "pad, conv": nn.Sequential(nn.ZeroPad2d((0, 1, 2, 1)), nn.Conv2d(6, 4, 3, padding=1)),
    "pad alone": nn.ZeroPad2d((0, 1, 2, 1)),
    "constant pad of zero": nn.ConstantPad2d(1, 0.0),
    "relu of the input": nn.ReLU(),
    "hardtanh": nn.Sequential(nn.Conv2d(6, 4, 1), nn.Hardtanh(-0.5, 0.25)),
    "clamp one side": lambda x: torch.clamp(x * 2.0, max=0.5),
    "clamp twice": lambda x: (x + x).clamp(-1.0, 2.0).clamp(min=0.5),
    "clamp to a constant": lambda x: (x + x).clamp(0.0, 1.0).clamp(min=2.0),
    "clamps of a pool": lambda x: F.relu6(F.max_pool2d(x, 2)),
    "add": lambda x: x + F.relu(x),
    "add in place": lambda x: F.relu(x).add_(x).relu_(),
    "add a number": lambda x: (x + 0.5) * 3.0 - 0.25,
    "divide": lambda x: x / 4.0,
    "number plus x": lambda x: 2.0 * x + (1.0 + x),
    "one minus, negated": lambda x: -(1.0 - F.relu(x)),
    "alpha": lambda x: torch.add(torch.tensor(2.0), torch.sub(x, 3.0, alpha=0.5), alpha=-2.0),
    "multiply": lambda x: x * torch.sigmoid(x),
    "squeeze and excite": lambda x: x * torch.sigmoid(F.adaptive_avg_pool2d(x, 1)),
    "sigmoid, silu, hardswish": nn.Sequential(nn.Sigmoid(), nn.SiLU(), nn.Hardswish()),
    "hardsigmoid, tanh, gelu": nn.Sequential(nn.Hardsigmoid(), nn.Tanh(), nn.GELU()),
    "leaky relu, elu": nn.Sequential(nn.LeakyReLU(0.2), nn.ELU(0.7)),
    "max pool": nn.MaxPool2d(3, 2, 1),
    "max pool rounding up": nn.MaxPool2d(2, 2, ceil_mode=True),
    "max pool dilated": nn.MaxPool2d(3, 1, dilation=2),
    "avg pool": nn.AvgPool2d(3, 2, 1),
    "avg pool without padding": nn.AvgPool2d((2, 3), 2, (1, 0), count_include_pad=False),
    "adaptive to a divisor": nn.AdaptiveAvgPool2d((3, 4)),
    "mean with keepdim": lambda x: x.mean([2, 3], keepdim=True),
    "nearest": nn.Upsample(scale_factor=2),
    "nearest to a size": lambda x: F.interpolate(x, size=(5, 11)),
    "bilinear by corners": nn.Upsample(size=(5, 17), mode="bilinear", align_corners=True),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
    "concat": lambda x: torch.cat([x, F.relu(x), x[:, 1:3]], dim=1),
    "channel split": lambda x: torch.cat(tuple(reversed(x.chunk(2, 1))), dim=-3),
    "slice": lambda x: x[:, 2:5, 1:-1, ::1],
    "in place before another reader": lambda x: _twice_read(x * 2.0),
    "in place through dropout": lambda x: _through_dropout(F.max_pool2d(x, 2)),
    "in place on a clone": lambda x: _on_a_clone(x * 2.0),
    "in place under a clone": lambda x: _under_a_clone(x * 2.0),
    "in place on the input": lambda x: x.relu_() + x,
    "float": lambda x: F.relu(x.float()).contiguous() * 0.5,
    "clamp away from zero": lambda x: (x * 2.0).clamp(0.5, 2.0),
    "clamp to infinity": lambda x: (x * 2.0).clamp(float("-inf"), 2.0),
    "to its own size": lambda x: F.interpolate(F.adaptive_avg_pool2d(x + 1.0, (9, 8)), size=(9, 8)),
    "dropout": nn.Sequential(nn.Conv2d(6, 4, 1), nn.Dropout2d(0.5), nn.Identity(), nn.ReLU()),
}
IMAGE_TO_VECTOR: dict[str, nn.Module | Forward] = {
    "linear": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(6, 3)),
    "linear, batch norm, relu": nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU()
    ),
    "flatten the image": nn.Sequential(nn.MaxPool2d(3), nn.Flatten(), nn.Linear(6 * 3 * 2, 5)),
    "mean and view": lambda x: x.mean((2, 3)).view(x.size(0), -1),
    "mean, negative axes": lambda x: x.mean([-1, -2]),
    "squeeze": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(2).squeeze(2),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("form", [*IMAGE_TO_IMAGE, *IMAGE_TO_VECTOR])
def test_each_form_computes_the_same(form: str) -> None:
    found = {**IMAGE_TO_IMAGE, **IMAGE_TO_VECTOR}[form]
    net = found if isinstance(found, nn.Module) else Calls(lambda _, x: found(x))
    agree(trained(net), image())


CONSTANTS: dict[str, Callable[..., object]] = {
    "one per channel": lambda self, x: self.conv(x) * self.scale.view(1, -1, 1, 1),
    "computed": lambda self, x: self.conv(x) + self.scale.exp()[:, None, None],
    "normalized input": lambda self, x: self.conv((x - self.scale[:4, None, None]) / self.other[None, :, None, None]),
    "made on the spot": lambda self, x: self.conv(x) * torch.full((6, 1, 1), 2.0) + torch.tensor(0.5),
    "weights": lambda self, x: F.conv2d(x, self.conv.weight * self.scale[:, None, None, None].sigmoid(), padding=1),
}


@pytest.mark.parametrize("form", CONSTANTS)
def test_constants_are_computed_once_and_folded_where_a_layer_precedes(form: str) -> None:
    net = Calls(CONSTANTS[form], conv=nn.Conv2d(4, 6, 3, padding=1))
    net.scale, net.other = nn.Parameter(torch.randn(6)), nn.Parameter(torch.rand(4) + 0.5)
    graph = agree(net.eval(), image(4))
    assert [type(node.op) for node in graph.nodes] == [FloatConv2d] * (2 if form == "normalized input" else 1)


def test_parametrized_weights_are_taken_as_they_are() -> None:
    agree(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 4, 3))).eval(), image())


@pytest.mark.parametrize(("gate", "name"), [(torch.sigmoid, "silu"), (F.hardsigmoid, "hardswish")])
def test_a_value_times_its_own_gate_is_one_function(gate: Callable, name: str) -> None:
    (made,) = agree(Calls(lambda _, x: x * gate(x)), image()).nodes
    assert made.op == FloatFunction(name)
    assert len(agree(Calls(lambda _, x: x * gate(x) + gate(x)), image()).nodes) == 3
    assert len(agree(Calls(lambda _, x: _seen_twice(x, gate(x))), image()).nodes) == 3


def _seen_twice(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    return gate * x + gate


def test_a_vector_is_never_taken_for_channels() -> None:
    scaled = Calls(lambda _, x, v: x * v)  # torch lines v up with the columns
    with pytest.raises(UnsupportedOp, match="multiplies equal shapes, by channel"):
        normalize(scaled, (torch.zeros(1, 6, 8, 6), torch.zeros(1, 6)))
    joined = Calls(lambda _, x, v: F.adaptive_avg_pool2d(x, 1).flatten(2) + v)  # (6, 6, 1) + (6, 6) is (6, 6, 6)
    with pytest.raises(UnsupportedOp, match="adds equal shapes"):
        normalize(joined, (torch.zeros(6, 6, 4, 4), torch.zeros(6, 6)))


@pytest.mark.parametrize("variance", [-1.0, 0.0])
def test_a_batch_norm_that_divides_by_nothing_is_refused(variance: float) -> None:
    norm = nn.BatchNorm2d(4, eps=0.0)
    norm.running_var.fill_(variance)  # type: ignore[union-attr]
    with pytest.raises(ProgramError, match=r"^1: aten\.batch_norm.* 4 of 4 running variances.*not positive"):
        normalize(nn.Sequential(nn.Conv2d(6, 4, 1), norm), image())


def test_weights_that_leave_float32_are_refused() -> None:
    net = Calls(lambda self, x: self.conv(x) * 1e30 * 1e30, conv=nn.Conv2d(6, 4, 1))
    with pytest.raises(ProgramError, match=r"28 of its 28 weights and biases become NaN or infinite"):
        normalize(net, image())


def test_the_example_is_left_as_it_was() -> None:
    x = image()
    before = x.clone()
    normalize(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(6, 4, 1)), x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_batch_of_the_example_does_not_matter(batch: int) -> None:
    net = trained(nn.Sequential(nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 6, 3)))
    graph = normalize(net, image(batch=batch))
    assert dict(graph.shapes) == dict(normalize(net, image()).shapes)


def test_an_example_of_integers_or_no_module_is_refused() -> None:
    with pytest.raises(ProgramError, match="float type"):
        normalize(nn.ReLU(), torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(ProgramError, match=r"torch\.nn\.Module, not function"):
        normalize(lambda x: x, image())  # type: ignore[arg-type]


def test_several_inputs_and_outputs() -> None:
    net = Calls(lambda self, a, b: (self.conv(a) + b, F.relu(b)), conv=nn.Conv2d(3, 4, 3, padding=1))
    graph = agree(trained(net), image(3), image(4))
    assert len(graph.inputs) == len(graph.outputs) == 2


def test_clamps_and_batch_norms_are_inside_their_convolution() -> None:
    graph = agree(trained(nn.Sequential(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.ReLU6())), image())
    assert [(type(node.op), node.clamp, node.name) for node in graph.nodes] == [(FloatConv2d, (0.0, 6.0), "0")]


def test_padding_before_a_convolution_is_its_own_unless_others_see_it() -> None:
    alone = agree(nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(6, 4, 3)), image())
    assert [type(node.op) for node in alone.nodes] == [FloatConv2d]

    def seen(self: nn.Module, x: torch.Tensor) -> object:
        padded = F.pad(x, (1, 1, 1, 1))
        return self.conv(padded), padded  # type: ignore[operator]

    shared = agree(Calls(seen, conv=nn.Conv2d(6, 4, 3)), image())
    assert [type(node.op) for node in shared.nodes] == [ops.Pad, FloatConv2d]


def test_a_value_seen_before_its_relu_keeps_it() -> None:
    def branches(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)  # type: ignore[operator]
        return y + F.relu(y)

    graph = agree(Calls(branches, conv=nn.Conv2d(6, 4, 1)), image())
    assert graph.nodes[0].clamp is None
    assert isinstance(graph.nodes[1].op, FloatFunction)


def test_a_relu_after_a_max_pool_stays_a_function() -> None:
    graph = agree(nn.Sequential(nn.MaxPool2d(2), nn.ReLU()), image())
    assert [type(node.op) for node in graph.nodes] == [ops.MaxPool, FloatFunction]


def test_the_module_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Dropout())).train()
    net[2].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    normalize(net, image())
    assert [module.training for module in net.modules()] == [True, True, True, False, False]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def _overwrite_part(x: torch.Tensor) -> torch.Tensor:
    x[:, :2].relu_()
    return x * 2.0


def _overwrite_view(x: torch.Tensor) -> torch.Tensor:
    x.flatten(1).relu_()
    return x * 2.0


def _write_part(x: torch.Tensor) -> torch.Tensor:
    x[:, :2] = 0.0
    return x


REFUSED: dict[str, tuple[nn.Module | Forward, str]] = {
    "softmax": (nn.Softmax(1), "softmax"),
    "batch statistics": (nn.BatchNorm2d(6, track_running_stats=False), "statistics of each batch"),
    "a roll of everything": (lambda x: x.roll(3), "as one list"),
    "samples backwards": (lambda x: x.flip(0), "a batch stays as it is"),
    "padding with ones": (nn.ConstantPad2d(1, 1.0), "zeros"),
    "mean over channels": (lambda x: x.mean(1, keepdim=True), "height and width"),
    "unequal windows": (nn.AdaptiveAvgPool2d(4), "unequal"),
    "max pools that step over the image": (
        lambda x: F.max_pool2d(x[:, :, :1, :1], 2, 1, padding=1, dilation=2),
        "step over the whole image of \\(1, 1\\): their result is minus infinity",
    ),
    "pools that leave the image": (nn.AvgPool2d(2, ceil_mode=True), "ceil_mode"),
    "a constant by x": (lambda x: 1.0 / x, "reciprocal|divided by"),
    "rounded division": (lambda x: x.div(0.5, rounding_mode="floor"), "rounding_mode='floor'"),
    "division by zero": (lambda x: x / torch.zeros(6, 1, 1), "divides by zero"),
    "integers": (lambda x: x.to(torch.int32).float(), "rounds"),
    "half precision": (lambda x: x.half().float(), "rounds"),
    "chance": (lambda x: x * torch.rand(6, 1, 1), "chance"),
    "a scale per column": (lambda x: x * torch.ones(8), "one per channel"),
    "a constant of more axes": (lambda x: x * torch.ones(1, 1, 1, 1, 1), "changes the shape"),
    "a product of row and column": (lambda x: x[:, :, :1] * x[:, :, :, :1], "multiplies equal shapes, by channel"),
    "ratio of two": (lambda x: x / torch.exp(x), "adds and subtracts equal shapes"),
    "in place on a part": (lambda x: _overwrite_part(x + 1.0), "in place on memory"),
    "in place on a view": (lambda x: _overwrite_view(x + 1.0), "in place on memory"),
    "in place on a constant": (lambda x: torch.ones(2, 6, 9, 8).add_(x), "writes into the constant"),
    "written into": (lambda x: _write_part(x + 1.0), "fill_"),
    "an early threshold": (nn.Softplus(1.0, 5.0), "threshold from 10"),
    "a scale per element of a long vector": (
        lambda x: torch.cat([x.flatten(1)] * 10, 1) * 2.0,
        "elements that no layer computes",
    ),
    "one value twice": (Calls(lambda _, x: (lambda y: (y, y))(x + 1.0)), "returns one value twice"),
    "nothing": (nn.Identity(), "nothing to compute"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_not_known_is_refused_by_name(form: str) -> None:
    found, says = REFUSED[form]
    net = found if isinstance(found, nn.Module) else Calls(lambda _, x: found(x))
    with pytest.raises(UnsupportedOp, match=says):
        normalize(net, image())


def test_the_error_says_where_and_what_and_where_the_list_stands() -> None:
    net = nn.Sequential(nn.Conv2d(6, 4, 1), nn.Sequential(nn.Softmax(1)))
    with pytest.raises(UnsupportedOp, match=r"^1\.0: aten\.softmax.*no operator for it. What it takes: docs/"):
        normalize(net, image())


def test_code_that_depends_on_values_is_refused() -> None:
    net = Calls(lambda _, x: x * 2 if x.sum() > 0 else x)
    with pytest.raises(UnsupportedOp, match=r"torch\.export cannot capture"):
        normalize(net, image())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    net = nn.Sequential(nn.Conv2d(6, 4, 1))
    with torch.no_grad():
        net[0].weight[1, 2] = value  # type: ignore[index]
    with pytest.raises(ProgramError, match=r"0\.weight: 1 of 24 weights are NaN or infinite"):
        normalize(net, image())


@pytest.mark.parametrize("shape", [(2, 5, 9, 8), (6, 9, 8), (2, 6, 9), (0, 6, 9, 8)])
def test_an_example_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ProgramError, match="example"):
        normalize(nn.Conv2d(6, 4, 1), torch.zeros(shape))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_stacks_of_convolutions(data: st.DataObject) -> None:
    channels, layers = 4, []
    for _ in range(data.draw(st.integers(1, 4))):
        groups = data.draw(st.sampled_from([1, 2, channels]))
        width = groups * data.draw(st.integers(1, 2))
        layers.append(nn.Conv2d(channels, width, data.draw(st.integers(1, 3)), padding=1, groups=groups))
        channels = width if width % 4 == 0 else 4
        if channels != width:
            layers.append(nn.Conv2d(width, channels, 1))
        if data.draw(st.booleans()):
            layers.append(nn.BatchNorm2d(channels))
        layers.append(data.draw(st.sampled_from([nn.Identity(), nn.ReLU(), nn.ReLU6(), nn.SiLU()])))
    agree(trained(nn.Sequential(*layers)), image(4), tolerance=1e-3)
