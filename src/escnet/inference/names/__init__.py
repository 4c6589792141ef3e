"""What a model makes of class names: doubles, and names that it cannot read."""
