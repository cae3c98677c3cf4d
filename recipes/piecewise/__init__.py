"""Piecewise weights on networks with published weights: tables of the paper's shape, and integers end to end."""
