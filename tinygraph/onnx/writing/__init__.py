"""Graphs as ONNX files: a writer, and a rule for each of tinygraph's operators, by family."""
