"""What a package is, when nobody says: its runtime and its handler, guessed from the files.

Conventions come first (`bootstrap`, `package.json`, `handler.py`, a function called `handler`), then what is the only choice. Where two
answers are equally good the guess is refused, with both named and how to say which. Source is read, never imported.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from ..errors import BuildFailed
from ..model.function import valid_handler
from . import pysource
from .check import NODE_SUFFIXES, listed, node_file
from .node import manifest_of
from .python import read

PYTHON_MODULES = ("handler", "main", "app", "index", "function", "lambda_function")
NODE_MODULES = ("index", "handler", "main", "app", "function")
FUNCTIONS = ("handler", "main", "handle", "lambda_handler")


class Detected(Struct, frozen=True):
    runtime: str
    handler: str  # empty for `provided`


def detect(folder: Path, *, runtime: str = "", handler: str = "", runtimes: Sequence[str] = ()) -> Detected:
    """Complete what is not given. `runtimes`: those of this machine. Raises BuildFailed where the files leave it open."""
    if handler and not valid_handler(handler):
        raise BuildFailed(
            f"the handler {handler[:80]!r} is not of the form MODULE.FUNCTION",
            hint="e.g. handler.main for main() in handler.py",
        )
    runtime = runtime or _runtime(folder, handler, runtimes)
    if not handler and runtime == "nodejs":
        handler = _node_handler(folder)
    elif not handler and runtime.startswith("python"):
        handler = _python_handler(folder, int(runtime.rpartition(".")[2]))
    return Detected(runtime, "" if runtime == "provided" else handler)


def _runtime(folder: Path, handler: str, runtimes: Sequence[str]) -> str:
    if (folder / "bootstrap").is_file():
        return "provided"
    module = handler.rpartition(".")[0]
    if module:
        python, node = pysource.module_file(folder, module) is not None, node_file(folder, module) is not None
    else:
        python = any(folder.glob("*.py"))
        node = (folder / "package.json").is_file() or any(p.suffix in NODE_SUFFIXES for p in folder.iterdir())
    if python and node:
        raise BuildFailed(
            "the package could be Python or Node: it has files of both",
            hint="say which with --runtime, e.g. nodejs or python3.11",
        )
    if node:
        return "nodejs"
    if python:
        return _newest_python(folder, runtimes)
    if module:
        path = module.replace(".", "/")
        raise BuildFailed(
            f"the package has no module {module!r}, where the handler should be; it has: {listed([p.name for p in folder.iterdir()])}",
            hint=f"put the code into {path}.py or {path}.js, or give another --handler MODULE.FUNCTION",
        )
    raise BuildFailed(
        f"the package is none of the kinds known here; it has: {listed([p.name for p in folder.iterdir()])}",
        hint="put a .py file, a .js file with package.json, or an executable `bootstrap` at its top; or give --runtime and --handler",
    )


def _newest_python(folder: Path, runtimes: Sequence[str]) -> str:
    """The newest Python here that pyproject.toml's requires-python allows."""
    have = sorted((r for r in runtimes if r.startswith("python3.")), key=lambda r: -int(r.rpartition(".")[2]))
    wish = _requires_python(folder)
    allowed = [r for r in have if _allows(wish, int(r.rpartition(".")[2]))]
    if not allowed:
        raise BuildFailed(
            f"the package requires Python {wish}; this machine has: {listed(have)}"
            if wish
            else "this machine has no Python from 3.8 to 3.13",
            hint="install one, or change requires-python in pyproject.toml",
            file="pyproject.toml",
        )
    return allowed[0]


def _requires_python(folder: Path) -> str:
    try:
        project = tomllib.loads(read(folder / "pyproject.toml")).get("project", {})
    except (tomllib.TOMLDecodeError, RecursionError):
        return ""  # the build says so, with the line
    wish = project.get("requires-python", "") if isinstance(project, dict) else ""
    return wish if isinstance(wish, str) else ""


def _allows(wish: str, minor: int) -> bool:
    for clause in wish.split(","):
        found = re.match(r"\s*(===?|!=|~=|>=|<=|>|<)\s*3(?:\.(\d+))?(\.\d+)?(\.\*)?\s*\Z", clause)
        if not found or found[2] is None:
            continue
        sign, bound, patch = found[1], int(found[2]), found[3] is not None
        holds = {
            "==": minor == bound,
            "===": minor == bound,
            "!=": minor != bound or patch,
            "~=": minor == bound if patch else minor >= bound,
            ">=": minor >= bound,
            ">": minor > bound or (patch and minor == bound),
            "<=": minor <= bound,
            "<": minor < bound or (patch and minor == bound),
        }
        if not holds[sign]:
            return False
    return True


def _python_handler(folder: Path, minor: int) -> str:
    modules = sorted(file.stem for file in folder.glob("*.py") if file.stem.isidentifier() and file.stem != "setup")
    known = [name for name in PYTHON_MODULES if name in modules]
    candidates: list[str] = []
    for module in known or modules:
        names = _python_functions(folder / f"{module}.py", minor)
        if best := next((name for name in FUNCTIONS if name in names), names[0] if len(names) == 1 else ""):
            if known or len(modules) == 1:
                return f"{module}.{best}"
            names = [best]
        candidates += [f"{module}.{name}" for name in names]
    return _only(candidates, "def handler(event, context): ... in handler.py", modules)


def _python_functions(file: Path, minor: int) -> list[str]:
    """Public functions that take two arguments; of a file that cannot be parsed here, those with a conventional name."""
    tree = pysource.parse(file, file.name, minor)
    if isinstance(tree, ast.Module):
        return [f.name for f in pysource.functions(tree) if f.two and not f.name.startswith("_")]
    defined = re.findall(r"^(?:async )?def (\w+)", read(file), re.MULTILINE)
    return [name for name in FUNCTIONS if name in defined]


_EXPORTS = re.compile(
    r"^\s*(?:module\.)?exports\.([A-Za-z_$][\w$]*)\s*=|^\s*export\s+(?:async\s+)?(?:function\s*\*?|const|let|var)\s+([A-Za-z_$][\w$]*)",
    re.MULTILINE,
)
_EXPORT_LISTS = re.compile(r"^\s*(?:module\.exports\s*=|export)\s*\{([^{}]*)\}", re.MULTILINE)


def _node_handler(folder: Path) -> str:
    main = manifest_of(folder).get("main")
    named = [re.sub(r"^\./|\.[mc]?js$", "", main)] if isinstance(main, str) else []
    named = [name for name in named if re.fullmatch(r"[\w-]+(/[\w-]+)*", name)]  # never a path out of the package
    modules = sorted({file.stem for suffix in NODE_SUFFIXES for file in folder.glob(f"*{suffix}")})
    known = [name for name in (*named, *NODE_MODULES) if node_file(folder, name) is not None]
    candidates: list[str] = []
    for module in known or modules:
        file = node_file(folder, module)
        names = _exported(read(file)) if file is not None else []
        if best := next((name for name in FUNCTIONS if name in names), names[0] if len(names) == 1 else ""):
            if known or len(modules) == 1:
                return f"{module}.{best}"
            names = [best]
        candidates += [f"{module}.{name}" for name in names]
    return _only(candidates, "exports.handler = async (event, context) => ... in index.js", modules)


def _exported(text: str) -> list[str]:
    names = [one or other for one, other in _EXPORTS.findall(text)]
    for inside in _EXPORT_LISTS.findall(text):
        for item in inside.split(","):
            if found := re.search(r"(?:\bas\s+)?([A-Za-z_$][\w$]*)\s*\Z", item.partition(":")[0].strip()):
                names.append(found[1])
    return list(dict.fromkeys(names))


def _only(candidates: list[str], example: str, modules: list[str]) -> str:
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise BuildFailed(
            f"several functions could be the handler: {listed(candidates)}",
            hint=f"say which, e.g. --handler {candidates[0]}",
            candidates=candidates[:50],
        )
    raise BuildFailed(
        f"no function could be the handler; the modules are: {listed(modules)}", hint=f"write {example}, or give --handler"
    )
