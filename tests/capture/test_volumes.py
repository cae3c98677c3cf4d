"""Volumes (C, D, H, W): captured from torch and ONNX, quantized, proved, run natively, exported, refused where not."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import oaq  # noqa: E402
from oaq.capture import from_float_onnx, from_torch  # noqa: E402
from oaq.errors import UnsupportedOp  # noqa: E402
from oaq.ptq.execute import float_outputs  # noqa: E402
from oaq.report.agreement import sqnr_db  # noqa: E402

RNG = np.random.default_rng(5)


class Trunk(nn.Module):
    """Full, depthwise and strided convolutions, pools, a transposed one, padding, a part, nearest pixels, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(2, 8, 3, padding=1),
            nn.BatchNorm3d(8),
            nn.ReLU(),
            nn.MaxPool3d(2),
            nn.Conv3d(8, 8, 3, padding=1, groups=8),
            nn.ReLU6(),
            nn.Conv3d(8, 12, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            nn.SiLU(),
            nn.AvgPool3d(2, 1),
            nn.ConvTranspose3d(12, 6, 2, 2),
        )
        self.head = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.interpolate(self.layers(x), scale_factor=2, mode="nearest")
        y = F.pad(y, (1, 0, 0, 2, 1, 1))[:, :, 1:, ::2]
        return self.head(F.adaptive_avg_pool3d(y, 1).flatten(1))


class Joined(nn.Module):
    """Sums, products and joins of volumes, which the network returns as one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv3d(2, 6, 3, 1, 1), nn.Conv3d(12, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.first(x).relu()
        b = F.max_pool3d(a, 3, 1, 1)
        return self.last(torch.cat([a + b, b * a], 1))


class Flattened(nn.Module):
    """A convolution, flattened before a linear layer in torch's order."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv3d(2, 6, 3, 2, 1), nn.Linear(6 * 4 * 3 * 3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).relu().flatten(1))


NETWORKS = {"trunk": (Trunk, (2, 8, 10, 12)), "joined": (Joined, (2, 5, 6, 7)), "flattened": (Flattened, (2, 8, 6, 6))}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_volumes_is_captured_quantized_and_run(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    kind, shape = NETWORKS[name]
    torch.manual_seed(1)
    net, x = kind().eval(), RNG.normal(size=(12, *shape)).astype(np.float32)
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    graph = from_torch.normalize(net, torch.from_numpy(x))
    np.testing.assert_allclose(float_outputs(graph, x)[0], expected, atol=1e-5)
    program = oaq.quantize(graph, [x])
    result = np.asarray(oaq.Session(oaq.plan(program), threads=2).run(x))
    assert result.shape == expected.shape and sqnr_db(expected, result) > 25
    oaq.export.onnx(program, tmp_path / "net.int8.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.int8.onnx"))
    (theirs,) = session.run(None, {session.get_inputs()[0].name: x})
    assert sqnr_db(theirs, result) > 30
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.from_numpy(x),), tmp_path / "net.onnx", opset_version=18, dynamo=False)
    again = from_float_onnx.normalize(tmp_path / "net.onnx")
    np.testing.assert_allclose(float_outputs(again, x)[0], expected, atol=1e-5)


def test_training_refuses_volumes_by_name() -> None:
    with pytest.raises(UnsupportedOp, match="slide over a volume; lines and images are trained"):
        oaq.qat.prepare(Joined().eval(), torch.zeros(1, 2, 4, 4, 4))
