"""Names taught by a few masks: closed form on frozen networks, kept as vectors in a names file."""
