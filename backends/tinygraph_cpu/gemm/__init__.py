"""Contractions: register tiles, their loops and epilogues."""
