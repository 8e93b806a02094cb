"""Seeing what the user wrote: the graph behind a tensor as a drawing (`draw_dot`) and as text
(`describe`)."""

from lazygrad.viz.dot import dot_source, draw_dot
from lazygrad.viz.history import Value, values_of
from lazygrad.viz.text import describe

__all__ = ["Value", "describe", "dot_source", "draw_dot", "values_of"]
