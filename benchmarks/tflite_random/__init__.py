"""Random TFLite graphs: ``draft`` holds one while it is drawn, ``layers`` and ``elementwise`` append operators."""
