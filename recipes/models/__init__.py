"""Float networks, written here: they load published state dictionaries unmodified."""
