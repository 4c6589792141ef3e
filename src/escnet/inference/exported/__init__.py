"""Exported models: graphs in a folder, computed by onnxruntime without PyTorch."""
