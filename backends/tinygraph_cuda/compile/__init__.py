"""From kernels to PTX and machine code, within a budget."""
