"""Films: frames in, label maps that hold still out."""
