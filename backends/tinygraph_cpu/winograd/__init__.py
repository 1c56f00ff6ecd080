"""Kernels of Winograd convolutions and of their gradients."""
