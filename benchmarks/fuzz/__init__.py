"""Broken files and extreme programs through everything that reads and runs them, under sanitizers and limits."""
