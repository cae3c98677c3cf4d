"""Which inputs of a set the checker runs, and how many it is willing to."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.checker import robust_claims
from oaq.checker.robust_claims import inputs_of
from oaq.errors import FormatError


def test_every_input_of_a_box_is_run_once_up_to_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    lo, hi = np.array([[3, -1, 0, 5]]), np.array([[4, -1, 2, 5]])
    for most, allowed in ((6, True), (5, False)):
        monkeypatch.setattr(robust_claims, "MOST_INPUTS", most)
        if not allowed:
            with pytest.raises(FormatError, match="6 inputs is too many"):
                list(inputs_of((lo, hi)))
            continue
        rows = np.concatenate(list(inputs_of((lo, hi)))).tolist()
        assert sorted(rows) == [[a, -1, b, 5] for a in (3, 4) for b in (0, 1, 2)]


def test_four_million_inputs_are_run_and_not_one_more_row_of_them() -> None:
    lo = np.zeros((1, 2), np.int64)
    assert len(next(inputs_of((lo, lo + (1 << 11) - 1)))) == 1024
    with pytest.raises(FormatError, match="a set of 4196352 inputs is too many to run"):
        next(inputs_of((lo, lo + np.array([(1 << 11) - 1, 1 << 11]))))
