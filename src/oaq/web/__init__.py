"""A program for pages: plans for both modules of WebAssembly, and a file that says what they are."""

from __future__ import annotations

from oaq.web.write import WebFiles, write

__all__ = ["WebFiles", "write"]
