"""Parts of the embeddings recipe that need no weights: its text, its tokens, its model of AVX2."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oaq.dynamic import DynamicLayer, quantize_rows
from oaq.dynamic.reference import exact_sums
from oaq.numerics.accumulator import AVX2_ACC32
from oaq.overflow.spill import schedule
from oaq.reference.register import simulate
from recipes.embeddings.saturation import Pairs
from recipes.embeddings.text import Tokenizer, batch, sentences


def test_python_ships_more_than_enough_sentences() -> None:
    texts = sentences(700)
    assert len(texts) == len(set(texts)) == 700
    assert all(text[0].isupper() and text[-1] in ".!?" and 6 <= len(text.split()) <= 60 for text in texts)


def test_words_become_the_longest_pieces_there_are(tmp_path: Path) -> None:
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "un", "##believ", "##able", "!", "cafe", "x", "_"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = Tokenizer(tmp_path / "vocab.txt")
    names = [words[index] for index in tokenizer.tokens("Unbelievable! Café zzz x_x")]
    assert names == ["[CLS]", "un", "##believ", "##able", "!", "cafe", "[UNK]", "x", "_", "x", "[SEP]"]


def test_batches_are_filled_up_and_cut() -> None:
    ids, mask = batch([[1, 2, 3], [4]])
    assert ids.tolist() == [[1, 2, 3], [4, 0, 0]] and mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch([[1, 2, 3]], 2)[0].tolist() == [[1, 2]]


def test_pairs_saturate_as_the_bit_true_simulator_has_them() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (9, 24)).astype(np.int8)
    layer = DynamicLayer("l", weight, np.ones(9, np.float32))
    x = rng.uniform(0.7, 1.0, (40, 24)).astype(np.float32)
    rows = quantize_rows(x, "tensor")
    fits = np.zeros_like(weight)
    plan = schedule(fits, np.zeros(24, np.int64), np.full(24, 255), AVX2_ACC32, 9)
    packed = np.ascontiguousarray(weight.reshape(9, 6, 4).transpose(1, 0, 2))
    simulation = simulate(AVX2_ACC32, rows.q[None], plan.segments, packed, 9)
    expected = simulation.sums - rows.zero_point[:, None] * weight.astype(np.int64).sum(axis=1)
    sums, count = Pairs(layer).sums(rows)
    assert np.array_equal(sums, expected)
    assert count == int(simulation.group_overflows.sum()) > 0
    assert not np.array_equal(sums, exact_sums(layer, rows))
    y, of_run = Pairs(layer).run(x)
    assert of_run == count
    assert np.array_equal(y, sums.astype(np.float32) * (rows.scale[:, None] * layer.scale))
