"""Image restoration by unfolded iterations: MR slices and blocks of photos from few measurements, in integers."""
