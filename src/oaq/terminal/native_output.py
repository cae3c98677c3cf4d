"""Keep what native libraries print out of our standard output.

Solvers print by C's ``printf`` whatever their options say: HiGHS writes lines of its branch and bound. They go to file
descriptor 1, past ``sys.stdout``, into the middle of a JSON document.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

STDOUT: Final = 1
STDERR: Final = 2


@contextmanager
def native_output_on_stderr() -> Iterator[None]:
    """While it is entered, file descriptor 1 is standard error; restored on every way out.

    Descriptors are of the whole process, so this is for commands, not for libraries: other threads' output moves too.
    Where standard output or standard error is closed, nothing is moved.
    """
    _flush()
    try:
        stored = os.dup(STDOUT)
    except OSError:  # closed: there is nothing to protect
        yield
        return
    try:
        with suppress(OSError):  # standard error is closed
            os.dup2(STDERR, STDOUT)
        try:
            yield
        finally:
            _flush()
    finally:
        os.dup2(stored, STDOUT)
        os.close(stored)


def _flush() -> None:
    """Write what Python and C hold back: into a pipe, C prints when its buffer is full or the process ends."""
    if sys.stdout is not None:
        sys.stdout.flush()
    with suppress(OSError, TypeError, AttributeError):  # a system whose C library is not in the process's own names
        ctypes.CDLL(None).fflush(None)
