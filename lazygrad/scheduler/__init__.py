"""From a simplified graph to an ordered list of kernels: what each of them computes, and in which memory."""
