"""Scalar arithmetic in LLVM, shared by the backends: no lanes, no threads, no device."""
