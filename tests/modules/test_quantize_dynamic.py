"""Linear layers of torch modules replaced by dynamic int8 ones."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import oaq  # noqa: E402
from oaq.dynamic import run_reference  # noqa: E402
from oaq.errors import CalibrationError, ConfigError, ProgramError  # noqa: E402
from oaq.modules import DynamicLinear, quantize_dynamic  # noqa: E402


class Conv1D(nn.Module):
    """As GPT-2 has it: weights (K, N)."""

    def __init__(self, outputs: int, terms: int) -> None:
        super().__init__()
        self.nf = outputs
        self.weight = nn.Parameter(torch.randn(terms, outputs) * 0.1)
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, x: Any) -> Any:
        return x @ self.weight + self.bias


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 40), nn.GELU(), Conv1D(9, 40), nn.ReLU(), nn.Linear(9, 5, bias=False)).eval()


def near(a: Any, b: Any, decibels: float = 28) -> bool:
    return bool((b.square().sum() / (a - b).square().sum()) > 10 ** (decibels / 10))


def test_the_public_name_is_this_function() -> None:
    assert oaq.quantize_dynamic is quantize_dynamic


@pytest.mark.parametrize("law", ["row", "row_s8", "tensor"])
@pytest.mark.parametrize("target", [None, "all", "avx2", "vnni"])
def test_linear_and_conv1d_are_replaced_in_a_copy_and_results_stay_near(law: Any, target: str | None) -> None:
    net = network()
    quantized = quantize_dynamic(net, activations=law, target=target)
    kinds = [type(part).__name__ for part in quantized]
    assert kinds == ["DynamicLinear", "GELU", "DynamicLinear", "ReLU", "DynamicLinear"]
    assert isinstance(net[0], nn.Linear)
    x = torch.randn(64, 12)
    assert near(quantized(x), net(x))


@pytest.mark.parametrize("shape", [(12,), (0, 12), (1, 12), (3, 12), (2, 3, 12), (2, 0, 5, 12)])
def test_leading_axes_are_whatever_they_are(shape: tuple[int, ...]) -> None:
    net = network()
    x = torch.randn(shape)
    quantized = quantize_dynamic(net)(x)
    assert quantized.shape == net(x).shape


def test_a_layer_computes_the_law_bit_for_bit() -> None:
    layer = quantize_dynamic(network())[0]
    x = torch.randn(7, 12)
    assert np.array_equal(layer(x).numpy(), run_reference(layer.layer, x.numpy()))


def test_a_row_does_not_depend_on_its_batch() -> None:
    quantized = quantize_dynamic(network())
    x = torch.randn(9, 12) * torch.logspace(-3, 3, 9)[:, None]
    assert torch.equal(torch.cat([quantized(row[None]) for row in x]), quantized(x))


def test_a_module_that_is_itself_a_layer_is_replaced() -> None:
    assert isinstance(quantize_dynamic(nn.Linear(4, 3)), DynamicLinear)


def test_a_layer_that_stands_twice_stays_one_layer() -> None:
    shared = nn.Linear(6, 6)
    quantized = quantize_dynamic(nn.Sequential(shared, nn.ReLU(), shared))
    assert quantized[0] is quantized[2] and isinstance(quantized[0], DynamicLinear)


def test_tied_embeddings_stay_float() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(11, 8)
            self.head = nn.Linear(8, 11, bias=False)
            self.head.weight = self.tokens.weight

        def forward(self, x: Any) -> Any:
            return self.head(self.tokens(x))

    net = Tied()
    quantized = quantize_dynamic(net)
    assert type(quantized.tokens) is nn.Embedding and isinstance(quantized.head, DynamicLinear)
    x = torch.arange(11)[None]
    assert near(quantized(x), net(x))


def test_an_encoder_of_torch_calls_the_layers_instead_of_reading_them() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    for net in (layer.eval(), nn.TransformerEncoder(layer, 2).eval()):
        x = torch.randn(2, 5, 16)
        with torch.no_grad():
            quantized = quantize_dynamic(net)
            assert near(quantized(x), net(x), 20)
            assert not torch.equal(quantized(x), net(x))


def test_subclasses_with_a_forward_of_their_own_stay() -> None:
    class Scaled(nn.Linear):
        def forward(self, x: Any) -> Any:
            return super().forward(x) * 2

    quantized = quantize_dynamic(nn.Sequential(Scaled(4, 4), nn.Linear(4, 4)))
    assert type(quantized[0]) is Scaled and isinstance(quantized[1], DynamicLinear)


def test_layers_are_excluded_by_name_and_pattern() -> None:
    quantized = quantize_dynamic(network(), exclude=["0", "[4]"])
    assert [isinstance(part, DynamicLinear) for part in quantized] == [False, False, True, False, False]
    with pytest.raises(ConfigError, match=r"holds no nn.Linear, or a Conv1D of GPT-2 kind besides \*"):
        quantize_dynamic(network(), exclude=["*"])


def test_state_dicts_pickles_and_copies_hold_the_layer() -> None:
    quantized = quantize_dynamic(network(), data=[torch.randn(50, 12)], activations="constant")
    x = torch.randn(4, 12)
    expected = quantized(x)
    file = io.BytesIO()
    torch.save(quantized.state_dict(), file)
    file.seek(0)
    other = quantize_dynamic(network(1), data=[torch.randn(50, 12)], activations="constant")
    assert not torch.equal(other(x), expected)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), expected)
    for copied in (copy.deepcopy(quantized), pickle.loads(pickle.dumps(quantized))):
        assert torch.equal(copied(x), expected)


def test_changed_buffers_are_planned_and_proved_again() -> None:
    quantized = quantize_dynamic(network())
    x = torch.randn(4, 12)
    before = quantized(x)
    quantized[4].weight_scale.mul_(2)
    assert torch.allclose(quantized(x), before * 2, rtol=1e-6)


def test_modules_may_be_made_and_run_without_autograd() -> None:
    x = torch.randn(4, 12)
    with torch.inference_mode():
        made_inside = quantize_dynamic(network())(x)
    assert torch.equal(made_inside, quantize_dynamic(network())(x))


def test_the_integers_keep_their_types_whatever_the_module_is_moved_to() -> None:
    quantized = quantize_dynamic(network())
    x = torch.randn(4, 12).to(torch.bfloat16)
    lower = copy.deepcopy(quantized).to(torch.bfloat16)
    assert lower(x).dtype == torch.bfloat16
    assert (lower[0].weight_q.dtype, lower[0].weight_scale.dtype) == (torch.int8, torch.float32)
    assert torch.equal(lower[0](x), quantized[0](x.float()).to(torch.bfloat16))


def test_compiled_modules_hold_the_layer_as_one_operator() -> None:
    quantized = quantize_dynamic(network())
    compiled = torch.compile(quantized, fullgraph=True, backend="eager", dynamic=True)
    for rows in (3, 8):
        x = torch.randn(rows, 12)
        assert torch.equal(compiled(x), quantized(x))


def test_error_feedback_on_data_lessens_the_error_of_weights() -> None:
    torch.manual_seed(0)
    net = nn.Linear(64, 64)
    x = torch.randn(2000, 8) @ torch.randn(8, 64) + torch.randn(2000, 64) * 0.3
    layers = [quantize_dynamic(net, target="all", data=data) for data in (None, [x])]
    losses = [float((x @ (layer.weight - net.weight.detach()).T).square().mean()) for layer in layers]
    assert losses[1] < 0.8 * losses[0]


def test_samples_may_be_tuples_and_mappings() -> None:
    net = nn.Bilinear(3, 3, 6)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both, self.head = net, nn.Linear(6, 2)

        def forward(self, a: Any, b: Any) -> Any:
            return self.head(self.both(a, b))

    a, b = torch.randn(5, 3), torch.randn(5, 3)
    for sample in ((a, b), {"a": a, "b": b}):
        assert isinstance(quantize_dynamic(Two(), data=[sample]).head, DynamicLinear)


def test_settings_and_data_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="not by 'column'"):
        quantize_dynamic(network(), activations="column")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="come from calibration: give data"):
        quantize_dynamic(network(), activations="constant")
    with pytest.raises(CalibrationError, match="there is no data"):
        quantize_dynamic(network(), data=[])


def test_inputs_that_do_not_fit_are_refused_in_words() -> None:
    layer = quantize_dynamic(network())[0]
    with pytest.raises(ProgramError, match=r"0: takes floats of shape \(..., 12\) on a CPU"):
        layer(torch.ones(2, 11))
    with pytest.raises(ProgramError, match="row 1 of a dynamic layer's input holds NaN"):
        layer(torch.stack([torch.ones(12), torch.full((12,), float("nan"))]))


def test_the_weights_it_stands_for_can_be_read() -> None:
    net = network()
    layer = quantize_dynamic(net, target="vnni")[0]
    assert float((layer.weight - net[0].weight.detach()).abs().max()) <= float(layer.weight_scale.max()) / 2 * 1.001
