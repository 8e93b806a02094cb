"""Every block of code in the README and in docs/ runs, or at least names what exists.

```python    runs; the blocks of a page share their names, in order
```pycon     runs, and prints what the page says
```bash      names scripts, modules and settings that exist
```text      output that was seen once: not checked
"""

import doctest
import re
import shlex
from pathlib import Path

import pytest

from lazygrad import config

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
INSTALLED = {"python", "python3", "pip", ".venv/bin/python", ".venv/bin/pip", ".ci/run", "git", "cd"}


def blocks(page: Path, *languages: str) -> list[tuple[int, str, str]]:
    """(line, language, text) of the blocks of a page in these languages."""
    text = page.read_text()
    return [
        (text[: m.start()].count("\n") + 2, m[1], m[2]) for m in BLOCK.finditer(text) if m[1] in languages
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_block_says_its_language(page):
    unknown = [
        m[1] for m in BLOCK.finditer(page.read_text()) if m[1] not in ("python", "pycon", "bash", "text")
    ]
    assert not unknown


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for line, language, text in blocks(page, "python", "pycon"):
        if language == "python":
            exec(compile("\n" * (line - 1) + text, str(page), "exec"), names)
        else:
            example = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), line)
            report: list[str] = []
            runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
            runner.run(example, out=report.append, clear_globs=False)
            names.update(example.globs)
            assert not report, "".join(report)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_name_what_exists(page):
    for _, _, text in blocks(page, "bash"):
        for command in re.split(r"&&|\n", text):
            words = shlex.split(command, comments=True)
            while words and (setting := re.match(r"([A-Z_]+)=(.*)", words[0])):
                assert setting[1] in config.BY_NAME, command
                config.BY_NAME[setting[1]].parse(setting[2])
                words.pop(0)
            if not words:
                continue
            assert words[0] in INSTALLED, command
            scripts = [w for w in words[1:] if w.endswith(".py")]
            assert all((ROOT / script).exists() for script in scripts), command


def test_ci_runs_the_test_command_of_the_readme():
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:40])
    commands = [line for m in BLOCK.finditer(first_screen) if m[1] == "bash" for line in m[2].splitlines()]
    tests = [command for command in commands if "pytest" in command]
    assert len(commands) == 2 and len(tests) == 1, "the first screen has two commands: the example, the tests"
    assert f"'{tests[0]}'" in (ROOT / ".ci" / "run").read_text()


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"
