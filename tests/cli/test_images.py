"""The flags that prepare photos."""

from __future__ import annotations

import argparse

from oaq.cli import images
from oaq.data.preprocess import Preprocess


def test_flags_go_over_what_the_file_recorded_and_that_over_defaults():
    parser = argparse.ArgumentParser()
    images.add_arguments(parser)
    recorded = Preprocess((32, 32), 40, (0.1,), (0.2,), "bicubic")
    assert Preprocess.from_metadata({"preprocess": recorded.to_json()}) == recorded
    assert images.preprocess(parser.parse_args([]), recorded, (7, 7)) == recorded
    assert images.preprocess(parser.parse_args([]), None, (7, 9)).size == (7, 9)
    given = images.preprocess(parser.parse_args(["--mean", "127/255", "--size", "24x28"]), recorded, (7, 7))
    assert (given.size, given.mean, given.interpolation) == ((24, 28), (127 / 255,), "bicubic")
