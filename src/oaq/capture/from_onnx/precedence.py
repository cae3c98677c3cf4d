"""An execution order of nodes that wait for one another."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from collections.abc import Set as AbstractSet


def in_order(waits: Sequence[AbstractSet[int]]) -> list[int]:
    """Indices of nodes, each after all that it waits for, otherwise as they come.

    Args:
        waits: for each node the indices of those that it needs.

    Returns:
        Without those that wait for themselves, directly or not, and without what waits for such.

    >>> in_order([{2}, set(), {1}]), in_order([{1}, {0}, set()])
    ([1, 2, 0], [2])
    """
    readers: list[list[int]] = [[] for _ in waits]
    for index, sources in enumerate(waits):
        for source in sources:
            readers[source].append(index)
    pending = [len(sources) for sources in waits]
    ready = [index for index, count in enumerate(pending) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            pending[reader] -= 1
            if not pending[reader]:
                heapq.heappush(ready, reader)
    return order
