"""Files to state dicts, and where each part of a checkpoint came from."""
