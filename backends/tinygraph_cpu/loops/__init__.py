"""Kernels from Python text: loops, branches and assignments around scalar expressions."""
