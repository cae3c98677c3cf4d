"""Torch modules that run proved layers."""
