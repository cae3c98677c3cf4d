"""From a network somebody trained to a clean graph of known operators, and from that graph to an ``IntProgram``."""
