"""Ranks connected by MPI, through mpi4py, which nothing else imports."""

from .connection import connect as connect
