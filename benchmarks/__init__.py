"""The harness against peers. Every figure quoted in a document comes from a file in ``results/``."""
