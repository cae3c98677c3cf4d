"""Architectures that people run, small and with random weights, and what oaq makes of each: see ``__main__``."""
