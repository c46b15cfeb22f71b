"""Reading Python source without running it: what a module defines, and where it does not parse.

User code is never imported here, only parsed. Parsing holds the interpreter, so no more than `PARSE_LIMIT` bytes of a package are
read; what is beyond shows when the function is loaded.
"""

from __future__ import annotations

import ast
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ..errors import BuildFailed

PARSE_LIMIT = 128 << 10  # bytes of source parsed for one package

# Names whose use means that a module may get attributes that its text does not show.
_DYNAMIC = frozenset(
    {"globals", "locals", "vars", "exec", "eval", "setattr", "modules", "__dict__", "__import__", "import_module"}
)
_lock = threading.Lock()  # `catch_warnings` is process-wide


class TopFunction(Struct, frozen=True):
    """A function at the top of a module."""

    name: str
    line: int
    two: bool  # can be called with two positional arguments


def module_file(folder: Path, module: str) -> Path | None:
    """The file of a module (dotted, or a path with slashes); None if the folder has none."""
    stem = folder.joinpath(*module.replace("/", ".").split("."))
    for file in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")):
        if file.is_file():
            return file
    return None


def parse(file: Path, shown: str, minor: int) -> ast.Module | BuildFailed | None:
    """The syntax tree by the grammar of Python 3.`minor`, as far as we know it.

    None if we cannot tell, because it is too large or nested too deeply. Raises BuildFailed with file, line and the offending text; but
    if 3.`minor` is newer than our own Python, its grammar may know better, and the error is returned as a doubt.
    """
    ours = sys.version_info.minor
    if file.stat().st_size > PARSE_LIMIT:
        return None
    try:
        with _lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(file.read_bytes(), shown, feature_version=(3, min(minor, ours)))
    except SyntaxError as error:
        doubt = syntax_error(shown, minor, error.lineno, error.offset, error.msg, error.text)
        if minor > ours:
            return doubt
        raise doubt from None
    except ValueError as error:  # null bytes
        raise BuildFailed(f"{shown} is not Python source: {error}", hint="check the file", file=shown, line=0) from None
    except (RecursionError, MemoryError):
        return None  # nested too deeply for the parser


def syntax_error(shown: str, minor: int, line: int | None, offset: int | None, message: str, text: str | None) -> BuildFailed:
    """The error for source that does not parse."""
    text = (text or "").strip()[:200]
    return BuildFailed(
        f"{shown}:{line or 0}: {message}" + (f": {text}" if text else ""),
        hint=f"correct the source; it is read as Python 3.{minor}",
        file=shown,
        line=line or 0,
        offset=offset or 0,
        text=text,
    )


def local_imports(tree: ast.Module, module: str, package: bool) -> Iterator[str]:
    """The modules that loading this one certainly loads, as far as they could be of the same package."""
    here = module.split(".") if package else module.split(".")[:-1]
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            name = ".".join([*base, *(node.module.split(".") if node.module else [])])
            if name:
                yield name
            yield from (f"{name}.{alias.name}".lstrip(".") for alias in node.names)


def functions(tree: ast.Module) -> list[TopFunction]:
    """The functions at the top of the module, in order."""
    return [
        TopFunction(node.name, node.lineno, _takes_two(node.args))
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _takes_two(arguments: ast.arguments) -> bool:
    positional = len(arguments.posonlyargs) + len(arguments.args)
    needed = positional - len(arguments.defaults)
    open_keywords = any(default is None for default in arguments.kw_defaults)
    return needed <= 2 and (positional >= 2 or arguments.vararg is not None) and not open_keywords


def bound_names(tree: ast.Module) -> set[str] | None:
    """All names the module can bind at its top level; None if its text cannot tell (star imports, globals(), ...)."""
    bound: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in _DYNAMIC:
                return None
            case ast.FunctionDef(name="__getattr__"):
                return None
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                bound.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                bound.update((alias.asname or alias.name).split(".")[0] for alias in names)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                bound.add(name)
            case ast.MatchMapping(rest=str(name)):
                bound.add(name)
    return None if "*" in bound else bound
