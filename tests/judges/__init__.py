"""Outside judges: what others wrote down about these ops. ONNX's own tests; PyTorch, where it is installed."""
