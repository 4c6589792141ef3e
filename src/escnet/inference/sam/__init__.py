"""SAM asked by prompts: its masks sharpen a method's maps, or are named by them."""
