"""Mistakes that can be told before anything runs, so that a deployment fails at once and names file and line.

Only what certainly cannot work is refused. Whatever the text leaves open shows when the first instance loads the code.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import BuildFailed
from ..model.function import Config, valid_handler
from . import pysource

NODE_SUFFIXES = (".js", ".mjs", ".cjs")
_LISTED = 12


def check(folder: Path, config: Config, *, installed: bool) -> list[BuildFailed]:
    """Raise BuildFailed if the package in `folder` cannot be what the configuration says. `installed`: dependencies are added to it.

    Returns doubts: errors of syntax that only the function's own, newer Python can confirm.
    """
    if config.runtime == "provided":
        _check_bootstrap(folder)
    elif config.runtime != "sequence" and config.contract == "dayfly":
        if not valid_handler(config.handler):
            raise BuildFailed(
                f"the handler {config.handler!r} is not of the form MODULE.FUNCTION",
                hint="e.g. `handler.main` for main() in handler.py",
            )
        if config.runtime == "nodejs":
            _check_node(folder, config.handler.rpartition(".")[0])
        else:
            return _check_python(folder, config, installed)
    return []


def _check_bootstrap(folder: Path) -> None:
    file = folder / "bootstrap"
    if not file.is_file():
        raise BuildFailed(
            f"the package has no file `bootstrap`; it has: {listed(os.listdir(folder))}",
            hint="the runtime `provided` starts an executable called bootstrap that serves HTTP on $PORT",
            file="bootstrap",
        )
    if not os.stat(file).st_mode & 0o111:
        raise BuildFailed(
            "`bootstrap` is not executable",
            hint="chmod +x bootstrap, and pack it with a tool that keeps the mode",
            file="bootstrap",
        )
    if not file.stat().st_size:
        raise BuildFailed("`bootstrap` is empty", hint="pack the built program", file="bootstrap")


def _check_node(folder: Path, module: str) -> None:
    if node_file(folder, module) is None:
        have = sorted(f"{p.relative_to(folder)}" for p in source_files(folder, NODE_SUFFIXES))
        raise BuildFailed(
            f"the package has no module {module!r} ({module}.js, .mjs or .cjs); it has: {listed(have)}",
            hint="name it with --handler MODULE.FUNCTION",
            file=f"{module}.js",
        )


def node_file(folder: Path, module: str) -> Path | None:
    """The file of a Node module of the package; None if it has none."""
    places = (Path(module), Path(module.replace(".", "/")))
    names = [place.with_name(place.name + suffix) for place in places for suffix in NODE_SUFFIXES]
    names += [place / f"index{suffix}" for place in places for suffix in NODE_SUFFIXES]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _check_python(folder: Path, config: Config, installed: bool) -> list[BuildFailed]:
    path, _, name = config.handler.rpartition(".")
    module = path.replace("/", ".")
    file = pysource.module_file(folder, module)
    if file is None:
        top = folder / module.split(".")[0]
        if installed and not top.exists():
            return []  # it may be a dependency's
        have = sorted(str(p.relative_to(folder)) for p in source_files(folder, (".py",)))
        raise BuildFailed(
            f"the package has no module {module!r} ({module.replace('.', '/')}.py); it has: {listed(have)}",
            hint="name it with --handler MODULE.FUNCTION",
            file=f"{module.replace('.', '/')}.py",
        )
    minor = int(config.runtime.rpartition(".")[2])
    tree, doubts = _parse_reachable(folder, module, file, minor)
    bound = pysource.bound_names(tree) if tree is not None else None
    if bound is not None and tree is not None and name not in bound:
        have = [function.name for function in pysource.functions(tree) if not function.name.startswith("_")]
        shown = str(file.relative_to(folder))
        raise BuildFailed(
            f"{shown} has no function {name!r}; it has: {listed(have)}",
            hint="name it with --handler MODULE.FUNCTION",
            file=shown,
            line=1,
        )
    return doubts


def _parse_reachable(folder: Path, module: str, file: Path, minor: int) -> tuple[ast.Module | None, list[BuildFailed]]:
    """Parse the handler's module and those of the package that it certainly loads. (the first; doubts). Raises BuildFailed."""
    first: ast.Module | None = None
    doubts: list[BuildFailed] = []
    budget, seen, pending = pysource.PARSE_LIMIT, {file}, [(module, file)]
    while pending:
        name, at = pending.pop(0)
        budget -= at.stat().st_size
        if budget < 0:
            break
        tree = pysource.parse(at, str(at.relative_to(folder)), minor)
        if isinstance(tree, BuildFailed):
            doubts.append(tree)
        elif tree is not None:
            first = first or (tree if at == file else None)
            for imported in pysource.local_imports(tree, name, at.name == "__init__.py"):
                found = pysource.module_file(folder, imported)
                if found is not None and found not in seen:
                    seen.add(found)
                    pending.append((imported, found))
    return first, doubts


def source_files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """The source files of the two upper levels, where people keep their handlers."""
    for pattern in ("*", "*/*"):
        for file in folder.glob(pattern):
            if file.suffix in suffixes and file.is_file() and "node_modules" not in file.parts:
                yield file


def listed(names: list[str]) -> str:
    """A few names for people."""
    shown = ", ".join(sorted(names)[:_LISTED])
    return (shown + (", ..." if len(names) > _LISTED else "")) or "nothing"
