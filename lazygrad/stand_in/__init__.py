"""A folder for `sys.path`: what `import torch` finds in processes that one with `as_torch` has started."""
