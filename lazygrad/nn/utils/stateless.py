"""functional_call under its older path."""

from lazygrad.func.modules import functional_call

__all__ = ["functional_call"]
