"""Layers side by side: what is computed of each depends on nothing of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import torch
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST: Final = 4
"""Layers at once: each needs room for matrices of its own."""


def at_once() -> int:
    """Layers at once."""
    return min(torch.get_num_threads(), MOST)


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``function`` of every item, in order, some at a time: as many as torch may use threads, and at most ``MOST``.

    NumPy lets go of the interpreter while it computes, so threads are enough; results do not depend on their number.
    Meanwhile its products of matrices use one thread each: those of OpenBLAS compute while they wait for each other,
    in time that another layer, or another process, needs. Items are taken as they are needed, in the calling thread.

    Raises:
        What ``function`` raises, once the results before it are taken; items not begun by then are not.
    """
    workers = at_once()
    with threadpool_limits(1, user_api="blas"):
        if workers == 1:
            yield from map(function, items)
            return
        pool, pending = ThreadPoolExecutor(workers, "oaq-layers"), deque[Future[Result]]()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
