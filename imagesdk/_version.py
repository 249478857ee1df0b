"""The version of this package: read by its build, and without a search through what is installed."""

__version__ = "0.1.0"
