"""The command ``oaq``: one file per verb, nothing but arguments in and words out."""

from __future__ import annotations

from oaq.cli.command import main

__all__ = ["main"]
