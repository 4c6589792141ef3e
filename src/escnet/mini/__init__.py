"""The built-in model: ESC-Net behind two small image nets, with parts that the paper has not."""
