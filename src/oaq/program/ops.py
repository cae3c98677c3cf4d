"""Another name for ``oaq.operators``, while imports move there."""

from __future__ import annotations

from oaq.operators import *  # noqa: F403
