"""CUDA kernels as Python text, by the kind of work."""
