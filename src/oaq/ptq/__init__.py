"""After training: calibrate, equalise, decide where precision is given up, round, correct biases. Needs torch."""
