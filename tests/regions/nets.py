"""Small float networks of which parts cannot be integers, as torch modules and as ONNX files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn


class Normalized(nn.Module):
    """Convolutions around a group norm, a softmax at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.second = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.third = nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.first(x)).relu()
        x = self.second(x).relu()
        x = x + self.third(x)
        return self.head(x.mean((2, 3))).softmax(-1)


class Encoder(nn.Module):
    """Tokens, a mask, attention, a classifier."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, channels)
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))
        self.first, self.second = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.wide, self.narrow = nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels)
        self.head = nn.Linear(channels, 3)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 4
        scores = scores.masked_fill(mask[:, None] == 0, -1e9)
        x = self.first(x + self.out(scores.softmax(-1) @ self.value(x)))
        x = self.second(x + self.narrow(nn.functional.gelu(self.wide(x))))
        return self.head(x[:, 0])


class Recurrent(nn.Module):
    """A convolution of a line, an LSTM, a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3, padding=1)
        self.lstm = nn.LSTM(8, 12, batch_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(self.conv(x).relu().transpose(1, 2))
        return self.head(y)


class Upsampled(nn.Module):
    """A transposed convolution between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.last = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.up(self.first(x).relu()).relu()).sigmoid()


def seeded(net: type[nn.Module]) -> nn.Module:
    """The same weights every time."""
    torch.manual_seed(0)
    return net().eval()


def exported(net: nn.Module, inputs: Sequence[torch.Tensor], axes: Mapping[str, Any], opset: int = 17) -> bytes:
    """An ONNX file; ``axes`` names its inputs, each with the axes that stay open."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            tuple(inputs),
            buffer,
            dynamo=False,
            opset_version=opset,
            input_names=list(axes),
            dynamic_axes={name: sizes for name, sizes in axes.items() if sizes},
        )
    return buffer.getvalue()


def images(count: int = 4, size: int = 16) -> list[np.ndarray]:
    """Batches of two."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, 3, size, size)).astype(np.float32) for _ in range(count)]


def tokens(count: int = 5, length: int = 6) -> list[dict[str, np.ndarray]]:
    """Batches of two, by name."""
    rng = np.random.default_rng(0)
    return [{"ids": rng.integers(0, 40, (2, length)), "mask": np.ones((2, length), np.int64)} for _ in range(count)]


def encoder_file(opset: int = 17) -> bytes:
    """The encoder with batch and length open."""
    first = tokens()[0]
    open_axes = {0: "batch", 1: "length"}
    inputs = [torch.from_numpy(first["ids"]), torch.from_numpy(first["mask"])]
    return exported(seeded(Encoder), inputs, {"ids": open_axes, "mask": open_axes}, opset)


def normalized_file() -> bytes:
    """The network of images with the batch open."""
    return exported(seeded(Normalized), [torch.from_numpy(images()[0])], {"x": {0: "batch"}})


def with_loop() -> bytes:
    """Two convolutions, a loop between them that adds a quarter three times."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
    torch.manual_seed(0)
    model = onnx.load_from_string(exported(net.eval(), [torch.from_numpy(images()[0])], {"x": {0: "batch"}}))
    graph = model.graph
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_on"], ["goes_on"]), helper.make_node("Add", ["sum", "quarter"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    constants = {"turns": np.array(3, np.int64), "begin": np.array(True), "quarter": np.array(0.25, np.float32)}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    last = graph.node[-1]
    graph.node.insert(
        len(graph.node) - 1, helper.make_node("Loop", ["turns", "begin", last.input[0]], ["looped"], body=body)
    )
    graph.node[-1].input[0] = "looped"
    return model.SerializeToString()


def detector() -> bytes:
    """Boxes and scores of convolutions, a NonMaxSuppression behind them."""

    class Boxes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.boxes, self.scores = nn.Conv2d(3, 8, 3, 4), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.trunk(x).relu()
            return self.boxes(y).flatten(2).transpose(1, 2) * 8 + 8, self.scores(y).flatten(2).sigmoid()

    content = exported(seeded(Boxes), [torch.from_numpy(images()[0][:1])], {"x": {}})
    model = onnx.load_from_string(content)
    boxes, scores = (output.name for output in model.graph.output)
    constants = {"most": np.array(5, np.int64), "overlap": np.float32(0.5), "least": np.float32(0.3)}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    inputs = [boxes, scores, "most", "overlap", "least"]
    model.graph.node.append(helper.make_node("NonMaxSuppression", inputs, ["selected"]))
    model.graph.output.append(helper.make_tensor_value_info("selected", TensorProto.INT64, ["n", 3]))
    return model.SerializeToString()
