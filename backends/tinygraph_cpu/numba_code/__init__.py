"""Kernels from Python text, through the front end of Numba."""
