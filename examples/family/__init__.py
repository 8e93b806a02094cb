"""The programs that the users of each micrograd know, on lazygrad, and the numbers that those print.

    python -m examples.family                      # all of them, as one table
    python -m examples.family.micrograd            # one of them; so does python examples/family/micrograd.py
    DEVICE=CL python -m examples.family.micrograd

Each program stands by itself: read one, and you have seen all that it does. `rows()` of each yields what the
table shows: (program, published number, our number).
"""

MEMBERS = (
    "micrograd",
    "eurekalabs",
    "micrograd_pp",
    "micrograd_cuda",
    "tinygrad",
    "teenygrad",
    "micrograd_ts",
    "micrograd_c",
    "go_micrograd",
    "micrograd_cr",
    "micrograd_nithinbekal",
    "backprop",
    "micrograd_jl",
    "grokking",
)
