"""File formats of parameters that need a reader of their own."""
