"""One thread: networks this small are slower with more, and far slower where machines are shared; fixed costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.ptq.conftest import made_up_costs

__all__ = ["made_up_costs"]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
