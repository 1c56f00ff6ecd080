"""The rules: how each of ONNX's operators becomes nodes, a module for each family."""
