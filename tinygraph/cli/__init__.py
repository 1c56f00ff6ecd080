"""The commands of ``python -m tinygraph``, a module each."""
