"""The friendly layer: pictures and names in, label maps out."""
