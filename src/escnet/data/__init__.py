"""Pictures and label maps from disk."""
