"""`lazygrad.jit`: functions of tensors that are recorded once and then replayed in one native call."""
