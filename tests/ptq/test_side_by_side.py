"""Layers side by side: results in order, errors as they come, and the same integers however many there are at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from oaq.program.plain import fingerprint
from oaq.ptq.quantize import quantize_with_report
from oaq.ptq.side_by_side import side_by_side
from tests.ptq.nets import images, net


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_results_come_in_order_and_items_are_taken_by_the_caller(count: int) -> None:
    torch.set_num_threads(count)
    callers = []

    def items() -> Iterator[int]:
        for item in range(20):
            callers.append(threading.get_ident())
            yield item

    assert list(side_by_side(lambda item: item * item, items())) == [item * item for item in range(20)]
    assert set(callers) == {threading.get_ident()}


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [1, 3])
def test_an_error_comes_after_the_results_before_it_and_stops_what_has_not_begun(count: int) -> None:
    torch.set_num_threads(count)
    begun = []

    def fail_at_two(item: int) -> int:
        begun.append(item)
        if item == 2:
            raise ValueError("item 2")
        return item

    results = side_by_side(fail_at_two, range(100))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="item 2"):
        next(results)
    assert len(begun) < 20


def test_a_network_gets_the_same_integers_however_many_layers_are_rounded_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quantized = []
    for count in (1, 2, 5):
        monkeypatch.setattr("oaq.ptq.side_by_side.at_once", lambda count=count: count)
        program, choices = quantize_with_report(net(), images())
        quantized.append((fingerprint(program), choices.cost))
    assert quantized[1:] == quantized[:1] * 2
