"""How fields are stored, read off their hints, whichever way NumPy and Python spell an array."""

from __future__ import annotations

from types import GenericAlias, SimpleNamespace

import numpy as np
import pytest

from oaq.operators.fields import _stored

ALIAS = GenericAlias(SimpleNamespace(__value__=np.ndarray[tuple[int, ...], np.dtype[np.uint8]]), (np.uint8,))
"""What ``NDArray[np.uint8]`` is from NumPy 2.5 on: a parameter of an alias by name."""


@pytest.mark.parametrize("hint", [ALIAS, np.ndarray, np.ndarray[tuple[int, ...], np.dtype[np.int8]]])
def test_an_array_is_one_by_any_alias(hint: object) -> None:
    assert _stored(hint, "x") == "array"


def test_what_has_no_stored_form_is_named() -> None:
    with pytest.raises(TypeError, match=r"Op\.x: .*dict.* has no stored form"):
        _stored(dict, "Op.x")
