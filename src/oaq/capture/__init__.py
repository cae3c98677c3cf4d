"""From a trained network to a clean graph of known operators, and from that graph to an ``IntProgram``."""
