"""Ways from a picture and texts to logits: ESC-Net, a tower alone; how they are loaded."""
