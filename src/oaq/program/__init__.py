"""A network of integers: its operators, its tensors, its file."""
