"""What DEBUG prints at each level, and what `explain` returns: words that a reader relies on, no times."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lazygrad as torch
from lazygrad import config, engine
from lazygrad.engine import report

ROOT = Path(__file__).parent.parent


@pytest.fixture(params=["CPU", "CL"])
def where(request):
    if request.param == "CL":
        pytest.importorskip("pyopencl")
    return request.param


def printed(capfd, level, where="CPU", **settings):
    """What realizing one small program for the first time prints."""
    report._announced.clear()
    engine._plans.clear()
    x = torch.tensor(np.arange(96, dtype=np.float32).reshape(6, 16) / 96, device=where)
    y = torch.tensor(np.ones((16, 5), np.float32), device=where)
    capfd.readouterr()
    with config.override(DEBUG=level, **settings):
        (x @ y + 2).exp().realize()
    out, err = capfd.readouterr()
    assert out == "", "DEBUG must leave standard output to the program"
    return err


NAME = "matmul_add_exp_6x5x16"


def test_silent_at_level_0(capfd):
    assert printed(capfd, 0) == ""


def test_level_1_device_and_schedule(capfd, where):
    lines = printed(capfd, 1, where).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"lazygrad: device {where}") or where in lines[0]
    assert re.match(
        rf"{where}: 1 kernel, planned in .+, \d kernels? made in .+ \(\d from disk\), \d from memory, "
        rf"peak memory .+B  test_debug.py:\d+$",
        lines[1],
    ), lines[1]


def test_level_1_tells_a_plan_from_the_cache(capfd):
    x = torch.ones(7, 3).realize()
    (x * 3).realize()
    capfd.readouterr()
    with config.override(DEBUG=1):
        (x * 3).realize()
    assert "1 kernel, plan from the cache" in capfd.readouterr().err


def test_level_2_a_line_for_each_kernel(capfd, where):
    lines = printed(capfd, 2, where).splitlines()
    assert len(lines) == 3
    assert re.match(
        rf"{where} +\d+ {NAME} +\d buffers +[\d.]+ [KMG]?i?B +[\d.]+ [mu]?s +[\d.]+ GFLOPS +[\d.]+ GB/s 100%"
        r"  test_debug.py:\d+$",
        lines[1],
    ), lines[1]


def test_level_3_groups_reasons_and_recipes(capfd, where):
    text = printed(capfd, 3, where)
    assert f"kernel 1 of 1: {NAME}\n" in text
    assert "  reads   buffer float32[6, 16]\n  reads   buffer float32[16, 5]\n" in text
    assert "  fuses   mul, sum, add, exp\n" in text
    assert re.search(r"  stores  exp float32\[6, 5\]: \S", text)
    assert re.search(r"  recipe  \w+\(", text)


def test_level_3_says_where_there_is_no_recipe(capfd):
    assert "  recipe  none: it runs as its naive nest\n" in printed(capfd, 3, NOOPT=True)


def test_level_4_source_with_a_legend(capfd, where):
    text = printed(capfd, 4, where)
    language = {"CPU": "LLVM IR", "CL": "OpenCL C"}[where]
    assert f"{language} of {NAME}, with\n" in text
    assert re.search(r"  \w+: read, 96 x float32: buffer \[6, 16\]\n", text)
    assert re.search(r"  \w+: write, \d+ x float32: exp \[6, 5\]", text)
    assert re.search({"CPU": "define void @", "CL": r"__kernel\b.*\s+void "}[where], text)
    assert "naive nest" not in text


def test_level_5_nests(capfd):
    text = printed(capfd, 5)
    assert f"naive nest:\nkernel {NAME}\n" in text and f"nest after its recipe:\nkernel {NAME}\n" in text
    assert "\n  for i0 in 6: " in text
    assert "graph:" not in text


def test_level_6_graphs(capfd):
    text = printed(capfd, 6)
    assert re.search(r"^graph: \d+ nodes\n  %0 = ", text, re.M)
    assert re.search(r"^  %\d+ = exp\(%\d+\) : float32\[6, 5\]  <- wanted$", text, re.M)
    assert re.search(r"^simplified: ", text, re.M)
    assert "machine code" not in text


def test_level_7_machine_code_and_memory(capfd, where):
    text = printed(capfd, 7, where)
    assert re.search(
        r"^memory: \d+ results .+, \d+ blocks of intermediates .+, \d+ written over donated buffers",
        text,
        re.M,
    )
    if where == "CPU":
        assert "optimised LLVM IR:\n" in text and "machine code:\n" in text
        assert re.search(r"^\s+\.globl\s+" + NAME, text, re.M)
    else:
        assert "machine code: the OpenCL driver keeps it to itself" in text


def test_every_level_adds_to_the_one_before(capfd):
    def words(level):
        text = re.sub(
            r"[\d.]+ ([mu]?s|GFLOPS|GB/s|[KMG]i?B|B)\b|\d+%| +|\d+ from \w+|\d+ kernels? made|"
            r"CPU +\d+|\.py:\d+",
            " ",
            printed(capfd, level),
        )
        return {line.strip() for line in text.splitlines()}

    found = [words(level) for level in range(8)]
    for level, (less, more) in enumerate(itertools.pairwise(found)):
        assert less < more, (level, less - more)


def test_numpy_device_says_that_it_interprets(capfd):
    text = printed(capfd, 6, "NUMPY")
    assert re.search(r"^NUMPY: \d+ nodes interpreted in .+, no kernels  test_debug.py:\d+$", text, re.M)
    assert "= exp(" in text


def test_colours_only_on_terminals(capfd, monkeypatch):
    assert "\033" not in printed(capfd, 2)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "\033[36m" in printed(capfd, 2)
    assert "\033" not in printed(capfd, 2, NO_COLOR=True)


def test_levels_are_documented_once_for_each():
    assert len(report.LEVELS) == 8


def test_sizes_and_times_for_people():
    assert [report.size_text(n) for n in (0, 1023, 1024, 5 << 20, 3 << 30)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 MiB",
        "3.0 GiB",
    ]
    assert [report.time_text(s) for s in (2e-6, 0.0035, 12.0)] == ["2.0 us", "3.50 ms", "12.00 s"]


# explain


def test_explain_runs_and_prints_nothing(capfd):
    x = torch.ones(6, 16).realize()
    y = (x * 2).sum(1)
    capfd.readouterr()
    with config.override(DEBUG=7):
        text = torch.explain(y)
    assert capfd.readouterr() == ("", "")
    assert not y.cell.is_realized
    for words in (
        "float32[6] on cpu",
        "graph: ",
        "kernel 1 of 1: ",
        "  fuses   ",
        "  recipe  ",
        "naive nest:",
        "LLVM IR of",
    ):
        assert words in text, words
    assert y.tolist() == [32.0] * 6


def test_explain_of_what_is_there():
    x = torch.ones(3).realize()
    assert torch.explain(x) == "float32[3] on cpu: in memory already, nothing would run"


def test_explain_tells_the_programs_before(where):
    x = (torch.ones(4) * 3).to(where)
    text = torch.explain(x + torch.ones(4, device=where))
    if where == "CL":
        assert "to copy to CL, on CPU" in text and "the program, on CL" in text and "OpenCL C of" in text
    parameter = (torch.rand(4) * 3).requires_grad_()
    assert "a leaf that the program reads, on CPU" in torch.explain((parameter * 2).exp())


def test_explain_on_the_reference():
    assert "interpreted node by node" in torch.explain(torch.ones(4, device="numpy") * 3)


def test_explain_leaves_no_trace():
    x = torch.rand(5).realize()
    y = (x * 2).cumsum(0)
    before = torch.explain(y)
    assert torch.explain(y) == before
    assert np.allclose(y.numpy(), np.cumsum(x.numpy() * 2))


def test_a_plan_keeps_no_buffer_alive():
    device = engine.open_device("CPU")
    x = torch.tensor(np.ones(1 << 16, np.float32))
    (x * 1.5 + 0.25).sum().item()
    held = device.stats.in_use
    del x
    assert device.stats.in_use < held


# python -m lazygrad


def run_module(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "lazygrad", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **settings},
    )


def test_module_prints_devices_settings_and_levels():
    done = run_module()
    assert done.returncode == 0, done.stderr
    for words in (f"lazygrad {torch.__version__}", "  CPU    ", "  CL", "  NUMPY  ", "DEBUG levels"):
        assert words in done.stdout
    assert all(f"  {row.name} " in done.stdout for row in config.ROWS)


def test_module_in_a_pipe_that_closes_early():
    command = [sys.executable, "-m", "lazygrad"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.close()  # before anything was printed: the first flush finds no reader
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_module_refuses_what_it_does_not_know():
    done = run_module("walk")
    assert (
        done.returncode == 2
        and "[lazygrad] unknown command 'walk': there" in done.stderr
        and "info" in done.stderr
    )


def test_module_shows_a_wrong_setting():
    done = run_module(DEBUG="9")
    assert done.returncode == 1 and "[setting] DEBUG='9': expected 0 to 7" in done.stdout
