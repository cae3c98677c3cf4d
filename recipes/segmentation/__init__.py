"""Segmentation as proved integers: a U-Net on slices of heads, a DeepLab-style network on composited photos."""
