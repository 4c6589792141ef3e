"""Rasters of any size, read and written in windows: satellite scenes, orthophotos, mosaics."""
