"""Attention in one pass over blocks of keys: when it pays, records, kernels and their twins."""
