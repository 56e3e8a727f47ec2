"""The house rules that a machine can hold: layers, purity, sizes, names, and pages that stay true.

Each test lists every place at fault, so that one run shows all of them.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70

# Imports go down this table, or sideways within a row without a cycle.
LAYERS = (
    ("vocabulary", "shim", "records", "operators", "config", "hashing"),
    (
        "events",
        "schemas",
        "decode",
        "fingerprint",
        "formats",
        "frames",
        "encode",
        "encode_operators",
        "sketches",
        "spill",
        "panes",
        "recent",
        "index",
        "admission",
        "passing",
        "volume",
    ),
    ("link_columns",),
    ("pooling",),
    ("accounts", "links", "population", "registrations", "tails"),
    ("signatures",),
    # models and views evaluate what signatures declare, so they stand above them.
    (
        "models",
        "likeness",
        "drift",
        "views",
        "profiles",
        "campaigns",
        "verdict",
        "alerts",
        "story",
        "life",
        "policy",
        "decision",
        "desk",
        "publishing",
    ),
    ("judge", "cases", "orders", "discovery"),
    ("snapshot", "sinks"),
    ("runtime", "tuning", "enforce"),
    ("pages",),
    ("cli", "__main__"),
)
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}
SHELL = frozenset({"runtime", "tuning", "enforce", "pages", "cli", "__main__"})

# A clock, the outside world, or chance: none of them in the fold.
IMPURE_MODULES = frozenset(
    {"asyncio", "concurrent", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "secrets"}
    | {"select", "shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "uuid"}
    | {"structlog", "typer", "rich", "faust", "mode", "aiokafka", "kafka"}
)
IMPURE_CALLS = frozenset({"breakpoint", "exec", "eval", "input", "open", "print"})
CLOCKS = frozenset({"now", "today", "utcnow", "fromtimestamp"})
VAGUE_NAMES = frozenset({"util", "utils", "base", "helper", "helpers", "manager", "misc"})
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|NotImplemented" + r"Error)\b")
# Spelled in pieces, so that this file does not hold what it looks for.
MACHINE = re.compile(
    "|".join(("/wo" + "rk/", "/fa" + "rm/", "/ro" + "ot/", "/ho" + r"me/\w", r"\.libra" + "ry", "bash_" + "jobs"))
)
INDEX_HOSTS = re.compile("|".join(("pypi" + r"\.org", "python" + r"hosted\.org", "--(?:extra-)?index" + "-url")))


def part_of(name: str) -> str:
    """The entry of LAYERS that a dotted name belongs to; empty for the package itself."""
    return (*name.split("."), "")[1]


class Module(NamedTuple):
    """One Python file of the package: its dotted name, its text and its syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """The row entry of LAYERS that the module belongs to; empty for the package itself."""
        return part_of(self.name)


@cache
def modules() -> dict[str, Module]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted((ROOT / "detector").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text()
        found[name] = Module(name, path.relative_to(ROOT), text, ast.parse(text))
    return found


def pure() -> list[Module]:
    return [m for m in modules().values() if m.part not in SHELL]


def imported(module: Module) -> Iterator[tuple[str, int]]:
    """The modules that one module imports, those of this package resolved to files, with the line."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.path}:{node.lineno}: imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in modules() else str(node.module)), node.lineno


def text_files() -> Iterator[tuple[Path, str]]:
    """Every text file that a clone has, the published records and data aside."""
    hidden_yet_ours = {".ci", ".gitignore", ".github"}
    foreign = {"build", "dist", "out", "__pycache__"}
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if any(p in foreign or p.endswith(".egg-info") or (p[0] == "." and p not in hidden_yet_ours) for p in parts):
            continue
        if path.is_file() and path.suffix not in {".gz", ".zst", ".parquet", ".nbc", ".nbi"}:
            yield path.relative_to(ROOT), path.read_text()


def test_every_module_has_its_layer() -> None:
    assert not sorted({m.part for m in modules().values()} - set(RANK) - {""})


def test_imports_go_down() -> None:
    found = []
    for module in modules().values():
        for target, line in imported(module):
            part = part_of(target)
            if target.split(".")[0] == "detector" and part and RANK[part] > RANK.get(module.part, 0):
                found.append(f"{module.path}:{line} imports {target}, which stands above it")
    assert not found, "\n".join(["", *found])


def test_imports_have_no_cycle() -> None:
    edges = {m.name: {t for t, _ in imported(m) if t in modules()} for m in modules().values()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for target in sorted(edges[name] - {"detector"}):
                visit(target, (*path, name))
            done.add(name)

    for name in sorted(edges):
        visit(name, ())


def test_imports_stand_at_the_top_and_hide_nothing() -> None:
    found = []
    for module in modules().values():
        top = set(map(id, module.tree.body))
        found += [
            f"{module.path}:{node.lineno}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in top
        ]
        found += [f"{module.path}: TYPE_CHECKING"] if "TYPE_CHECKING" in module.text else []
    assert not found, "\n".join(["", *found])


def test_the_fold_has_no_clock_no_io_no_log_and_no_chance() -> None:
    found = []
    for module in pure():
        found += [
            f"{module.path}:{line} imports {name}"
            for name, line in imported(module)
            if name.split(".")[0] in IMPURE_MODULES
        ]
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
                found.append(f"{module.path}:{node.lineno} calls {node.func.id}()")
            if isinstance(node, ast.Attribute) and node.attr in CLOCKS:
                found.append(f"{module.path}:{node.lineno} asks the clock: .{node.attr}")
            if isinstance(node, ast.Attribute) and node.attr == "random" and ast.unparse(node.value) in {"np", "numpy"}:
                found.append(f"{module.path}:{node.lineno} draws: {ast.unparse(node)}")
    assert not found, "\n".join(["", *found])


def test_nobody_calls_the_builtin_hash_or_pickles() -> None:
    found = []
    for module in modules().values():
        found += [
            f"{module.path}:{node.lineno} calls hash()"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hash"
        ]
        found += [f"{module.path}:{line} {name}" for name, line in imported(module) if name in {"pickle", "marshal"}]
    assert not found, "\n".join(["", *found])


def test_files_and_functions_keep_their_sizes() -> None:
    found = []
    for module in modules().values():
        lines = module.text.count("\n")
        if lines > FILE_LINES_MAX:
            found.append(f"{module.path} has {lines} lines, at most {FILE_LINES_MAX}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    found.append(
                        f"{module.path}:{node.lineno} {node.name}: {lines} lines, at most {FUNCTION_LINES_MAX}"
                    )
    assert not found, "\n".join(["", *found])


def test_every_module_says_what_it_is_for() -> None:
    found = []
    for module in modules().values():
        said = ast.get_docstring(module.tree) or ""
        # A signature's page has its own form; a verb of the command line is told by its help.
        brief = module.path.name == "__init__.py" or module.part in {"signatures", "cli", "__main__"}
        if not said or not (brief or "\n" in said):
            found.append(f"{module.path}: {said or 'no docstring'!r}")
    assert not found, "\n".join(["", *found])


def test_names_say_something() -> None:
    found = [str(m.path) for m in modules().values() if VAGUE_NAMES & set(m.path.stem.split("_"))]
    assert not found, "\n".join(["", *found])


def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{module.path}:{number}"
        for module in modules().values()
        for number, line in enumerate(module.text.splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not found, "\n".join(["", *found])


def test_every_suppression_has_its_reason_on_the_line() -> None:
    # One needs none: a kernel has no annotations, because numba infers them.
    kernels = "no-untyped-def"
    found = []
    for module in modules().values():
        for number, line in enumerate(module.text.splitlines(), 1):
            ignored = re.search(r"# type: ignore\[([\w,-]+)\](.*)", line)
            if ignored and kernels not in ignored[1].split(",") and not re.search(r"# \w", ignored[2]):
                found.append(f"{module.path}:{number} {line.strip()}")
            if re.search(r"# noqa(?!: [A-Z0-9, ]+ - \w)", line):
                found.append(f"{module.path}:{number} {line.strip()}")
    assert not found, "\n".join(["", *found])


def signature_ids() -> list[str]:
    folder = ROOT / "detector" / "signatures"
    return sorted(p.stem for p in folder.glob("*.py") if re.fullmatch(r"[a-z]+\d+_[a-z0-9_]+", p.stem))


def test_a_signature_is_one_file_one_test_and_one_row() -> None:
    ids = signature_ids()
    assert ids
    tests = sorted(p.stem.removeprefix("test_") for p in (ROOT / "tests" / "signatures").glob("test_?[0-9]*_*.py"))
    rows = re.findall(
        r"^\|\s*\W*`?([a-z]+\d+_[a-z0-9_]+)`?", (ROOT / "detector/signatures/README.md").read_text(), re.MULTILINE
    )
    assert tests == ids
    assert sorted(rows) == ids


@pytest.mark.parametrize("name", signature_ids())
def test_a_signature_says_what_it_misses_and_confuses(name: str) -> None:
    said = ast.get_docstring(modules()[f"detector.signatures.{name}"].tree) or ""
    assert re.search(r"^Misses\b", said, re.MULTILINE)
    assert re.search(r"^Confuses\b", said, re.MULTILINE)


def test_the_readmes_paths_and_targets_exist() -> None:
    said = (ROOT / "README.md").read_text()
    code = re.findall(r"`([^`\n]+)`", said)
    paths = {c for c in code if re.fullmatch(r"[\w.-]+(?:/[\w.-]+)*/?", c) and ("/" in c or re.search(r"\.\w+$", c))}
    paths |= {link for link in re.findall(r"\]\(([^)#]+)\)", said) if "://" not in link}
    written_by_a_run = {
        "alerts.jsonl",
        "decisions.jsonl",
        "members.jsonl",
        "rejects.jsonl",
        "metrics.json",
        "manifest.json",
        "scores.parquet",
        "accounts.parquet",
        "timeline.parquet",
        "report.html",
    }
    outside = {
        path for path in paths if path in written_by_a_run or path.startswith((".venv", "../", "out", "access."))
    }
    assert not sorted(path for path in paths - outside if not (ROOT / path).exists())
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    assert not set(re.findall(r"`make ([a-z-]+)`", said)) - targets


def test_no_file_names_a_machine_or_an_index() -> None:
    found = []
    for path, text in text_files():
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE.search(line) or INDEX_HOSTS.search(line):
                found.append(f"{path}:{number}")
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize(("lock", "extra"), [("requirements.lock", None), ("requirements-dev.lock", "dev")])
def test_the_locks_answer_what_the_package_asks_for(lock: str, extra: str | None) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    locked = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / lock).read_text(), re.MULTILINE))
    found = []
    for requirement in map(Requirement, asked):
        version = locked.get(canonicalize_name(requirement.name))
        if version is None or version not in requirement.specifier:
            found.append(f"{lock} has {requirement.name} {version}, pyproject.toml asks for {requirement}: make lock")
    assert not found, "\n".join(["", *found])


def test_both_locks_agree() -> None:
    def pins(lock: str) -> set[str]:
        return set(re.findall(r"^[\w.-]+==[\w.]+", (ROOT / lock).read_text(), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_the_changelog_names_the_version_with_detections_and_state() -> None:
    said = (ROOT / "CHANGELOG.md").read_text()
    version = re.search(r'__version__ = "([^"]+)"', modules()["detector"].text)
    assert version is not None
    assert f"## [{version[1]}]" in said
    newest = said.split("\n## [")[1]
    assert "### Detections" in newest
    assert "### State" in newest
