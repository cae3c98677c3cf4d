"""A block in bands: what is timed is three layers, equal to the reference, on all lines or on a few."""

from __future__ import annotations

from benchmarks.bands import BLOCKS, Block, measured, program


def test_bands_divide_every_block() -> None:
    for block in BLOCKS:
        assert block.side % block.band == 0
        assert block.band < block.side


def test_a_band_has_the_same_three_layers_on_fewer_lines() -> None:
    block = Block(8, 4, 16, 8, 3, 4)
    whole, band = program(block, block.side), program(block, block.band)
    assert (
        [node.name for node in whole.nodes] == [node.name for node in band.nodes] == ["expand", "depthwise", "project"]
    )
    assert whole.tensors["project"].shape == (8, 8, 8)
    assert band.tensors["project"].shape == (4, 8, 8)


def test_both_are_compared_and_timed() -> None:
    row, _ = measured(Block(8, 4, 16, 8, 3, 4), "avx2", rounds=1)
    figures = dict(row)
    assert figures["bands"] == "2"
    assert float(figures["whole us"]) > 0
    assert float(figures["in bands us"]) > 0
