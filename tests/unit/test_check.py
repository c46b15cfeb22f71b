"""Mistakes that are told before anything runs; and nothing is refused that could work."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import pytest

from dayfly.build.check import check
from dayfly.errors import BuildFailed
from dayfly.model.function import Config

OURS = f"python3.{min(sys.version_info.minor, 13)}"


def put(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def failure(folder: Path, files: dict[str, str], installed: bool = False, **config: str) -> BuildFailed:
    put(folder, files)
    with pytest.raises(BuildFailed) as caught:
        check(folder, Config(**config), installed=installed)  # type: ignore[arg-type]
    return caught.value


def test_a_syntax_error_names_file_line_and_text(tmp_path: Path) -> None:
    error = failure(tmp_path, {"handler.py": "import os\n\ndef handler(event, context:\n    pass\n"})
    assert error.detail == "handler.py:3: '(' was never closed: def handler(event, context:"
    assert (error.members["file"], error.members["line"], error.members["offset"]) == ("handler.py", 3, 12)


@pytest.mark.parametrize(
    "importing", ["import lib.util", "from lib import util", "from lib.util import x", "from .lib import util"]
)
def test_modules_that_are_certainly_loaded_are_parsed_too(importing: str, tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": "",
        "pkg/lib/__init__.py": "",
        "pkg/lib/util.py": "x = = 1",
        "lib/__init__.py": "",
        "lib/util.py": "x = = 1",
    }
    error = failure(tmp_path, files | {"pkg/main.py": f"{importing}\ndef f(e, c): ..."}, handler="pkg.main.f")
    assert str(error.members["file"]).endswith("lib/util.py")
    assert error.members["line"] == 1


def test_the_grammar_is_that_of_the_runtime(tmp_path: Path) -> None:
    new = {"handler.py": "def handler(e, c):\n    match e:\n        case 1: pass\n"}
    assert "handler.py:3: Pattern matching" in failure(tmp_path, new, runtime="python3.9").detail
    check(tmp_path, Config(runtime=OURS), installed=False)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="no runtime is newer than this interpreter")
def test_what_only_a_newer_python_can_tell_is_a_doubt(tmp_path: Path) -> None:
    put(tmp_path, {"handler.py": "def handler[T = int](e: T, c): ...\n"})
    (doubt,) = check(tmp_path, Config(runtime="python3.13"), installed=False)
    assert doubt.members["file"] == "handler.py"


def test_a_missing_module_lists_those_that_are_there(tmp_path: Path) -> None:
    error = failure(tmp_path, {"app.py": "", "lib/util.py": "", "a.txt": ""})
    assert error.detail == "the package has no module 'handler' (handler.py); it has: app.py, lib/util.py"
    check(tmp_path, Config(handler="dependency.main"), installed=True)
    assert "lib/other.py" in failure(tmp_path, {}, installed=True, handler="lib.other.f").detail


def test_a_missing_function_names_what_is_there(tmp_path: Path) -> None:
    error = failure(tmp_path, {"handler.py": "def main(e, c): ...\ndef _hidden(): ...\nx = 1\n"})
    assert error.detail == "handler.py has no function 'handler'; it has: main"


@pytest.mark.parametrize(
    "source",
    [
        "from lib import *",
        "def __getattr__(name): ...",
        "globals()['handler'] = print",
        "import sys; setattr(sys.modules[__name__], 'handler', print)",
        "from lib import other as handler",
        "import handler",
        "if 1:\n    handler = print",
        "for handler in (print,): pass",
        "with open('x') as handler: pass",
        "try: pass\nexcept Exception as handler: pass",
        "(handler := print)",
        "def f():\n    global handler\n    handler = print\nf()",
        "class handler: ...",
        "async def handler(e, c): ...",
        "handler: object = print",
        "*_, handler = 1, print",
        "match 1:\n    case handler: pass",
        "exec('handler = print')",
    ],
)
def test_what_could_define_the_function_is_let_through(source: str, tmp_path: Path) -> None:
    put(tmp_path, {"handler.py": source + "\n"})
    check(tmp_path, Config(runtime=OURS), installed=False)


@pytest.mark.parametrize(
    "source", ["x = " + "1+" * 50_000 + "1", "x = " + "-" * 100_000 + "1", "a" + ".b" * 50_000, "#" * 200_000, r"'\d'"]
)
def test_odd_sources_neither_crash_nor_warn(source: str, tmp_path: Path) -> None:
    put(tmp_path, {"handler.py": f"{source}\ndef handler(e, c): ...\n"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(tmp_path, Config(), installed=False)


@pytest.mark.parametrize("data", [b"\0\0", b"# coding: no-such\n", b"\xff\xfe\xff", b"x = '\xff'\n"])
def test_what_is_not_source_is_said_to_be(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_bytes(data)
    assert "handler.py" in failure(tmp_path, {}).detail


def test_bootstrap_must_be_there_and_executable(tmp_path: Path) -> None:
    assert "no file `bootstrap`; it has: main" in failure(tmp_path, {"main": "x"}, runtime="provided").detail
    assert "chmod +x bootstrap" in failure(tmp_path, {"bootstrap": "#!/bin/sh"}, runtime="provided").hint
    os.chmod(tmp_path / "bootstrap", 0o755)
    check(tmp_path, Config(runtime="provided", handler=""), installed=False)
    assert "is empty" in failure(tmp_path, {"bootstrap": ""}, runtime="provided").detail


def test_node_modules_are_looked_up_by_file(tmp_path: Path) -> None:
    error = failure(tmp_path, {"app.js": "", "lib/index.mjs": ""}, runtime="nodejs", handler="index.handler")
    assert error.detail == "the package has no module 'index' (index.js, .mjs or .cjs); it has: app.js, lib/index.mjs"
    for handler in ("app.handler", "lib.handler", "lib/index.handler"):
        check(tmp_path, Config(runtime="nodejs", handler=handler), installed=False)


@pytest.mark.parametrize("handler", ["handler", "", "../x.y", "a b.c"])
def test_a_handler_has_a_form(handler: str, tmp_path: Path) -> None:
    assert "MODULE.FUNCTION" in failure(tmp_path, {"handler.py": ""}, handler=handler).detail
