"""Where in a network something stands, for names and messages."""

from __future__ import annotations

from dataclasses import dataclass

from oaq.errors import UnsupportedOp


@dataclass(frozen=True)
class Location:
    """Where in the network something stands.

    Attributes:
        name: for the node made there.
        shown: begins every message about it.
    """

    name: str
    shown: str

    def unsupported(self, reason: str) -> UnsupportedOp:
        """The error for what cannot be taken."""
        return UnsupportedOp(f"{self.shown}: {reason}")

    def under(self, suffix: str) -> Location:
        """For a second node made at the same place."""
        return Location(self.name + suffix, self.shown)
