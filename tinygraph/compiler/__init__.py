"""From a graph to a program: options, passes, planning, code, the store, the call."""
