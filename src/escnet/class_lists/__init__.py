"""Lists of class names as tools write them, recognised by content; works without PyTorch."""
