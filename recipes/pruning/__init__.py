"""Quantization-aware pruning (after "Ps and Qs", 2102.11289): curves on public tables, taggers, CIFAR-10."""
