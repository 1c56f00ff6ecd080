"""The model zoo: networks of the field as modules."""

from .lenet import lenet5

__all__ = ["lenet5"]
