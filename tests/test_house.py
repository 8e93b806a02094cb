"""The rules of the house: imports go down only, the page of the architecture is whole, files stay small and
plain."""

import ast
import re
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from lazygrad import config

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lazygrad"
FILES = sorted(PACKAGE.rglob("*.py"))
PYTHON = sorted(p for folder in ("lazygrad", "tests", "examples") for p in (ROOT / folder).rglob("*.py"))
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
README = (ROOT / "README.md").read_text()
MOST_LINES = 520
COLUMNS = 110


def name_of(path: Path) -> str:
    """The path of a file as the architecture page writes it."""
    return path.relative_to(PACKAGE).as_posix()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def floors() -> dict[str, int]:
    """The floor of every file, from the page: a heading `### Floor n: name`, then lines "- `file`: what it
    is"."""
    found: dict[str, int] = {}
    floor = -1
    for line in ARCHITECTURE.splitlines():
        if heading := re.match(r"### Floor (\d+)", line):
            floor = int(heading[1])
        elif line.startswith("#"):
            floor = -1
        elif floor >= 0 and (entry := re.match(r"- `([^`]+)`: \S", line)):
            assert entry[1] not in found, f"two lines for {entry[1]}"
            found[entry[1]] = floor
    return found


def inside(tree: ast.Module, wanted: Callable[[ast.AST], bool]) -> set[int]:
    """The ids of all nodes below certain ones."""
    return {id(inner) for node in ast.walk(tree) if wanted(node) for inner in ast.walk(node)}


def for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(path: Path, at_once: bool = False) -> Iterator[str]:
    """The modules of the package that a file imports: not those only for type checkers, and `at_once` not
    those inside functions."""
    tree = ast.parse(path.read_text())
    left_out = inside(tree, for_types)
    if at_once:
        left_out |= inside(tree, lambda node: isinstance(node, ast.FunctionDef))
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "lazygrad")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: a relative import"
            if node.module and node.module.split(".")[0] == "lazygrad":
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if inner in MODULES else node.module


GRAPH = {module_of(path): set(imports(path)) for path in FILES}


def test_every_file_has_its_line_in_the_architecture():
    written = set(floors())
    there = {name_of(path) for path in FILES if path.read_text().strip()}
    assert not there - written, "files without a line in docs/architecture.md"
    assert not written - there, "lines of docs/architecture.md that name no file"


def test_imports_go_down_only():
    floor = floors()
    wrong = []
    for path in FILES:
        here = floor.get(name_of(path), 99)
        for module in sorted(GRAPH[module_of(path)] & set(MODULES)):
            above = floor.get(name_of(MODULES[module]), -1)
            if above > here:
                wrong.append(f"{name_of(path)} (floor {here}) imports {module} (floor {above})")
    assert not wrong, "\n".join(wrong)


def loaded(module: str) -> set[str]:
    """What Python loads before a file is done: what it imports, and the packages on the way there, but for
    the root and the file's own."""
    found = set(imports(MODULES[module], at_once=True))
    ways = {other[: at.start()] for other in found for at in re.finditer(r"\.", other)} - {"lazygrad"}
    return found | {package for package in ways if not f"{module}.".startswith(f"{package}.")}


@pytest.mark.parametrize("graph", [GRAPH.__getitem__, loaded], ids=["imports", "loading"])
def test_imports_have_no_cycle(graph):
    try:
        TopologicalSorter({module: graph(module) for module in MODULES}).prepare()
    except CycleError as error:
        pytest.fail("files import each other: " + " <- ".join(error.args[1]))


@pytest.mark.parametrize("one,other", [("codegen", "runtime"), ("runtime", "codegen")])
def test_workshops_do_not_see_each_other(one, other):
    seen = {module: GRAPH[module] for module in GRAPH if module.startswith(f"lazygrad.{one}")}
    assert seen
    wrong = [
        f"{module} imports {i}"
        for module, found in seen.items()
        for i in found
        if i.startswith(f"lazygrad.{other}")
    ]
    assert not wrong


def test_modules_that_are_imported_exist():
    missing = [f"{module} imports {i}" for module, found in GRAPH.items() for i in found if i not in MODULES]
    assert not missing


def test_environment_is_read_in_one_file():
    readers = [name_of(path) for path in FILES if re.search(r"\b(environ|getenv|putenv)\b", path.read_text())]
    assert readers == ["config.py"]


def test_every_setting_that_is_read_has_its_row():
    asked = {m for path in FILES for m in re.findall(r"config\.get\(\s*[\"'](\w+)[\"']", path.read_text())}
    assert asked <= set(config.BY_NAME)
    assert set(config.BY_NAME) <= asked | {"CACHE_DIR"}, "settings that nobody reads"


@pytest.mark.parametrize("name", sorted(config.BY_NAME))
def test_every_setting_is_documented(name):
    row = next((line for line in README.splitlines() if re.match(rf"\| `{name}(=[^`]*)?` \|", line)), None)
    assert row, f"no row for {name} in the README's table of settings"


def test_debug_levels_are_documented():
    for level in range(1, 8):
        assert re.search(rf"^\| {level} \| \S", README, re.M), f"no row for DEBUG={level} in the README"


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_are_small_and_plain(path):
    text = path.read_text()
    lines = text.splitlines()
    assert len(lines) <= MOST_LINES
    wide = [number for number, line in enumerate(lines, 1) if len(line) > COLUMNS]
    assert not wide, f"lines wider than {COLUMNS} columns: {wide}"
    # written so that this file does not find itself
    words = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "x" + "fail"]
    if path.name != "errors.py":  # which names the built-in type that PyTorch raises
        words.append("NotImplemented" + "Error")
    assert not re.findall(rf"\b({'|'.join(words)})\b", text)
    assert text.isascii() or path.name in ("test_docs.py",), "characters outside ASCII"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_public_definitions_say_what_they_are(path):
    tree = ast.parse(path.read_text())
    if not path.read_text().strip():
        return
    assert ast.get_docstring(tree), f"{name_of(path)} does not say what it is"
    # a name may be enough for a few lines
    bare = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not node.decorator_list
        and not ast.get_docstring(node)
        and (node.end_lineno or 0) - node.lineno > 15
    ]
    assert not bare, f"{name_of(path)}: no docstring: {', '.join(bare)}"
