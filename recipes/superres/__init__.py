"""Super-resolution: ESPCN, FSRCNN and a small EDSR, from photos to proved integers to larger photos and scores."""
