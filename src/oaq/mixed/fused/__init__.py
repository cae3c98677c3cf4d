"""Float parts between dynamic layers that oaq's own native code computes: normalization, GELU, attention."""
