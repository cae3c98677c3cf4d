"""Mixed programs: a file cut into regions of integers, which are proved, and of floats, which are not."""
