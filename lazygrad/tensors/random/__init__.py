"""Random numbers: generators, the two ways to draw (`RNG=counter`, `RNG=torch`), and what fills tensors."""
