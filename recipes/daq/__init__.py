"""DAQ: what few levels a channel cost, on a network that enlarges photos and on one that reconstructs MR slices."""
