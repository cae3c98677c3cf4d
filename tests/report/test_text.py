"""The words and tables of a terminal report."""

from __future__ import annotations

import dataclasses

from oaq.report import text
from tests.report import samples

LAYERS = [
    "Layers",
    "layer               operator       W bits  A bits  kernel ro"
    "w                 run  spills  splits  of register  SQNR dB",
    "------------------  -------------  ------  ------  ---------"
    "----------------  ---  ------  ------  -----------  -------",
    "blocks.0.expand     conv 1x1          6.6     6.0  gemm_u8s8"
    "_avx2_acc16       3.0       8       0       74.5 %     32.4",
    "blocks.0.depthwise  depthwise 3x3     7.6     8.0  depthwise"
    "_u8s8_avx2_acc16  6.2       9       1       83.3 %     32.1",
]


def test_the_layer_table_lines_up():
    assert text.render([text.layer_table(samples.full(2))]).splitlines() == LAYERS


def test_the_headline_says_what_is_guaranteed():
    made = samples.full(2)
    assert text.headline(made) == (
        "efficientnet_lite0: proved for 2 of 2 layers under every avx2 kernel chosen: "
        "no sum can overflow, whatever the input"
    )
    assert "OBSERVED only" in text.headline(dataclasses.replace(made, tier="observed"))


def test_a_layer_that_is_not_proved_is_named_in_its_line():
    made = samples.full(2)
    bounds = dataclasses.replace(made.layers[0].bounds, lane=dataclasses.replace(made.layers[0].bounds.lane, hi=40000))
    broken = dataclasses.replace(made, layers=(dataclasses.replace(made.layers[0], bounds=bounds), made.layers[1]))
    assert "122 % NOT PROVED" in text.to_text(broken)
    assert text.headline(broken).startswith("efficientnet_lite0: NOT PROVED: 1 of 2 layers can overflow")


def test_every_figure_of_the_summary_says_its_kind():
    kinds = {row[2] for row in text.summary(samples.full(3)).rows}
    assert kinds == {"proved", "predicted", "observed", "measured"}


def test_tables_without_data_are_left_out():
    titles = [table.title for table in text.tables(samples.bare())]
    assert titles == ["Summary"]
