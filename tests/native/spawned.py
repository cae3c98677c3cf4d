"""What a spawned worker of test_processes.py runs."""

from __future__ import annotations

import numpy as np

import tests.native.conftest  # noqa: F401  the build under test
from oaq.runtime import Session


def integers(session: Session, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The outputs, computed there."""
    return session.run_integers(x)
