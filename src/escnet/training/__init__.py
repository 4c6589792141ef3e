"""One training loop, its data, its loss."""
