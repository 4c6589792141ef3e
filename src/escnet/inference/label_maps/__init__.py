"""Logits to label maps in the picture's own size, of whole pictures and of windows."""
