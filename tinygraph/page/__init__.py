"""One HTML page that shows a program: graph, stages, kernels, memory, times, the user's code.

Python files collect what the page shows as plain data; ``assets/`` has the JavaScript that draws.
"""
