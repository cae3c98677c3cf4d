"""Sentences of Python's own documentation, and BERT's tokens of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LEAST_WORDS, MOST_WORDS = 6, 60


def sentences(count: int) -> list[str]:
    """Distinct sentences of prose of the language reference, evenly spread over its topics."""
    from pydoc_data.topics import topics

    result: dict[str, None] = {}
    for text in topics.values():
        for paragraph in re.split(r"\n\s*\n", text):
            if paragraph.startswith(("   ", "*", "-", "+", "|")) or "::=" in paragraph:
                continue  # code, lists, tables, grammar
            for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", re.sub(r"\s+", " ", paragraph).strip()):
                words = sentence.split()
                if LEAST_WORDS <= len(words) <= MOST_WORDS and sentence[-1] in ".!?" and sentence[0].isupper():
                    result.setdefault(sentence)
    every = list(result)
    return [every[index] for index in np.linspace(0, len(every) - 1, min(count, len(every))).astype(int)]


class Tokenizer:
    """WordPiece on lower-case text without accents, as BERT's uncased models have it."""

    def __init__(self, vocabulary: Path) -> None:
        self.ids = {word: index for index, word in enumerate(vocabulary.read_text(encoding="utf-8").splitlines())}

    def tokens(self, text: str) -> list[int]:
        """Ids of one text, with [CLS] before and [SEP] behind."""
        plain = "".join(
            letter for letter in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(letter) != "Mn"
        )
        ids = [self.ids["[CLS]"]]
        for word in re.findall(r"[^\W_]+|[^\s\w]|_", plain):
            ids += self._pieces(word)
        return [*ids, self.ids["[SEP]"]]

    def _pieces(self, word: str) -> list[int]:
        pieces, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            end = next((end for end in range(len(word), start, -1) if mark + word[start:end] in self.ids), 0)
            if not end:
                return [self.ids["[UNK]"]]
            pieces.append(self.ids[mark + word[start:end]])
            start = end
        return pieces


def batch(texts: Sequence[list[int]], length: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and mask, (B, T) each, filled up with 0 to the longest, or cut and filled to ``length``."""
    longest = length or max(map(len, texts))
    ids, mask = (np.zeros((len(texts), longest), np.int64) for _ in range(2))
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text[:longest], 1
    return ids, mask
