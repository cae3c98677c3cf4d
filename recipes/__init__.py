"""Runnable single files, read top to bottom; ``models`` and ``data`` hold what several of them need."""
