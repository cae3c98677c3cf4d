"""The table of sums that wrap by design, and the names of its rows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import wrapnet, wrapnet_table
from benchmarks.wrapnet import CIFAR10, FASHION, WIDE, Row, Variant, config_of, figures, rows_of
from oaq.errors import ConfigError
from recipes.result_file import Result, stamp, write


def test_every_row_has_a_name_and_a_folder_of_its_own() -> None:
    for variants in (FASHION, CIFAR10):
        assert len({str(variant) for variant in variants}) == len(variants)
        assert len({variant.folder for variant in variants}) == len(variants)
        assert all("/" not in variant.folder for variant in variants)
    assert str(WIDE) == "wide sums, as many epochs"
    assert str(Variant(6, math.inf)) == "6 bits, plain wrap, untouched"
    assert str(Variant(6, 2.0, 1.0, 0.3)) == "6 bits, slope 2, pressed 1, folded 0.3"


def test_the_rows_train_ternary_weights_on_two_bits() -> None:
    config = config_of(Variant(7, 2.0))
    assert (config.method, config.weight_bits, config.activation_bits) == ("wrap", 2, 2)
    assert (config.wrapping.bits, config.wrapping.slope) == (7, 2.0)


def test_no_seed_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert wrapnet.main(["fashion", "--seeds", "0"]) == 2
    assert "--seeds 0" in capsys.readouterr().err


def test_rows_of_some_registers_come_in_the_order_asked_for() -> None:
    assert rows_of(CIFAR10, None) == CIFAR10
    assert [variant.bits for variant in rows_of(CIFAR10, (7, 16))] == [7, 7, 16]
    assert rows_of(FASHION, (16,)) == (WIDE,)
    with pytest.raises(ConfigError, match=r"--bits 9: rows are of registers of 6, 7, 8, 16 bits"):
        rows_of(CIFAR10, (9,))


def test_a_table_has_means_over_seeds_and_is_not_run_without_a_file(tmp_path: Path) -> None:
    assert wrapnet_table.block("wrap-fashion", tmp_path) == "Not run.\n"
    rows = [Row("wide sums", 0, 890, 0.0, "-"), Row("wide sums", 1, 900, 0.01, "-")]
    result = Result("wrapnet", "a command", stamp(), rows=(figures("wide sums", rows, 1000),))
    write(result, tmp_path / "wrapnet_fashion.json")
    assert "| wide sums | 89.50 | 89.00, 90.00 | 0.0000, 0.0100 | - |" in wrapnet_table.block("wrap-fashion", tmp_path)
    facts = (("training images", "25000"), ("epochs", "12 float"))
    write(replace(result, facts=facts), tmp_path / "wrapnet_fashion.json")
    assert wrapnet_table.block("wrap-fashion", tmp_path).startswith(
        "Training images: 25000; epochs: 12 float.\n`a command`.\n\n|"
    )
