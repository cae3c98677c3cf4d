"""Networks of token ids: encoders, a decoder, a recurrent classifier."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY = 200
LENGTH = 32
WIDTH = 64


class Heads(nn.Module):
    """Attention with separate projections; ``causal`` hides what comes later; ``mask`` (n, T), 1 where a token is."""

    def __init__(self, *, causal: bool = False, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """(n, T, C) in and out."""
        n, count, _ = x.shape
        q, k, v = (part(x).view(n, count, self.heads, -1).transpose(1, 2) for part in (self.q, self.k, self.v))
        shown = None if mask is None else (1.0 - mask[:, None, None, :]) * -1e4
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=shown, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(n, count, WIDTH))


class Block(nn.Module):
    """Attention and two linear layers, each beside its input; norms behind the sums (BERT) or before (GPT)."""

    def __init__(self, *, first: bool, causal: bool) -> None:
        super().__init__()
        self.first = first
        self.attention = Heads(causal=causal)
        act = nn.GELU(approximate="tanh" if causal else "none")
        self.wide = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), act, nn.Linear(4 * WIDTH, WIDTH))
        self.norms = nn.ModuleList((nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """(n, T, C) in and out."""
        if self.first:
            x = x + self.attention(self.norms[0](x), mask)
            return x + self.wide(self.norms[1](x))
        x = self.norms[0](x + self.attention(x, mask))
        return self.norms[1](x + self.wide(x))


class Encoder(nn.Module):
    """BERT in its structure (1810.04805): ids, types and a mask to a pooled vector."""

    def __init__(self, depth: int = 2, *, typed: bool = True) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.types = nn.Embedding(2, WIDTH) if typed else None
        self.norm = nn.LayerNorm(WIDTH)
        self.blocks = nn.ModuleList(Block(first=False, causal=False) for _ in range(depth))
        self.pool, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None = None) -> torch.Tensor:
        """(n, T) integers each, to (n, 10)."""
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        if self.types is not None and types is not None:
            x = x + self.types(types)
        x = self.norm(x)
        for block in self.blocks:
            x = block(x, mask.float())
        return self.head(torch.tanh(self.pool(x[:, 0])))


def bert() -> nn.Module:
    """Three inputs."""
    return Encoder()


def distilbert() -> nn.Module:
    """No token types (1910.01108)."""
    return Encoder(typed=False)


class Decoder(nn.Module):
    """GPT in its structure: causal attention, scores of the next word from the embedding's own weights."""

    def __init__(self, depth: int = 2) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Block(first=True, causal=True) for _ in range(depth))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(n, T) integers to (n, T, words)."""
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x, None)
        return self.norm(x) @ self.words.weight.T


def gpt() -> nn.Module:
    """A decoder."""
    return Decoder()


class Recurrent(nn.Module):
    """An embedding, a GRU in both directions, a classifier of its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.gru = nn.GRU(WIDTH, 48, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(n, T) integers to (n, 10)."""
        return self.head(self.gru(self.words(ids))[0][:, -1])


def gru_classifier() -> nn.Module:
    """A recurrent classifier of text."""
    return Recurrent()
