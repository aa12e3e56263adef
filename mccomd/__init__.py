"""mccomd: a local-first code completion daemon that knows the repository."""

__version__ = "0.1.0"
