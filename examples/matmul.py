"""Multiply two matrices, and show what it became: the graph, the recipe, the kernel, and its speed beside
NumPy's.

    python examples/matmul.py                    # 1024 x 1024 x 1024
    python examples/matmul.py 512 768 3072       # m n k
    python examples/matmul.py --source           # the generated LLVM IR (OpenCL C with DEVICE=CL) as well
"""

import argparse
import time

import numpy as np

import lazygrad as torch


def best_seconds(work, seconds):
    """The fastest of the runs that fit into a time."""
    work()
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            return best


def kernel_text(text, source):
    """The part of an explanation about kernels: without the graph, and without the source unless it is
    wanted."""
    lines = text.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("kernel 1 of"))
    end = next(i for i, line in enumerate(lines) if line.startswith(("LLVM IR of", "OpenCL C of")))
    return "\n".join(lines[begin:] if source else lines[begin:end])


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", type=int, nargs="*", default=[1024, 1024, 1024], metavar="m n k")
    parser.add_argument("--source", action="store_true", help="print the generated source as well")
    parser.add_argument("--short", action="store_true", help="a small product, measured briefly")
    options = parser.parse_args(arguments)
    if len(options.sizes) != 3:
        parser.error("give three sizes: m n k")
    m, n, k = (256, 256, 256) if options.short else options.sizes
    seconds = 0.2 if options.short else 2.0

    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n)))
    x, y = torch.tensor(left), torch.tensor(right)
    if x.device != "numpy":  # the reference interpreter has no kernels
        print(kernel_text(torch.explain(x @ y), options.source))

    mine = best_seconds(lambda: (x @ y)[0, 0].item(), seconds)
    numpys = best_seconds(lambda: left @ right, seconds)
    error = np.abs((x @ y).numpy() - left.astype(np.float64) @ right).max()
    for name, found in ((f"lazygrad on {x.device}", mine), ("NumPy", numpys)):
        print(f"{name:20} {found * 1e3:8.2f} ms {2e-9 * m * n * k / found:8.1f} GFLOPS")
    print(f"largest difference from float64: {error:.1e}")
    assert error < 1e-5 * k


if __name__ == "__main__":
    main()
