"""What is computed: types, nodes, graphs and operators, and what works on any graph.

This package imports nothing else of tinygraph.
"""
