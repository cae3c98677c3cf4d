"""A program as C11: one header, one source, its constants, a self-test; scalar, without a library or an allocation."""
