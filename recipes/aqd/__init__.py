"""AQD: a detector of which every layer computes in integers, trained on composited garments."""
