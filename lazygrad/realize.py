"""The engine's door under its first name; importers move to lazygrad.engine."""

from lazygrad.engine import download, realize, upload

__all__ = ["download", "realize", "upload"]
