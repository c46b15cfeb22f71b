"""What goes wrong in user code, while it is loaded and while it runs, and how its author learns of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from instance import PYTHON, Link, running, write_files

from dayfly.runtime.python.contract import CONTRACTS

LOADING = [
    (
        {"handler.py": "import math\n\ndef handler(event, context)\n    return 1\n"},
        "handler.handler",
        {"type": "SyntaxError", "file": "handler.py", "line": 3, "message": "expected ':'"},
    ),
    (
        {"handler.py": "import os\nimport nowhere\n"},
        "handler.handler",
        {"type": "ModuleNotFoundError", "file": "handler.py", "line": 2, "message": "No module named 'nowhere'"},
    ),
    (
        {"handler.py": "import lib.one\n", "lib/__init__.py": "", "lib/one.py": "x = 1\ny = x / 0\n"},
        "handler.handler",
        {"type": "ZeroDivisionError", "file": "lib/one.py", "line": 2, "message": "division by zero"},
    ),
    (
        {"handler.py": "import sys\nsys.exit(4)\n"},
        "handler.handler",
        {"type": "SystemExit", "file": "handler.py", "line": 2, "message": "the code called sys.exit(4) while it was loaded"},
    ),
    (
        {"main.py": "", "lib/x.py": "", "notes.txt": ""},
        "handler.handler",
        {
            "type": "HandlerError",
            "message": "the package has no module 'handler' (handler.py); in that place it has: lib, main.py",
        },
    ),
    (
        {"lib/__init__.py": "", "lib/x.py": ""},
        "lib/y.handler",
        {
            "type": "HandlerError",
            "message": "the package has no module 'lib.y' (lib/y.py); in that place it has: __init__.py, x.py",
        },
    ),
    (
        {"handler.py": "from json import loads\ndef main(e, c): pass\ndef other(e, c): pass\ndef _no(): pass\n"},
        "handler.handler",
        {"type": "HandlerError", "file": "handler.py", "message": "handler has no function 'handler'; it has: main, other"},
    ),
    (
        {"handler.py": "X = 1\n"},
        "handler.run",
        {"type": "HandlerError", "message": "handler has no function 'run'; it defines no function at all"},
    ),
    (
        {"handler.py": "handler = 7\n"},
        "handler.handler",
        {"type": "HandlerError", "message": "handler.handler is a int, not a function"},
    ),
    (
        {"handler.py": "\n\ndef handler(event):\n    return 1\n"},
        "handler.handler",
        {
            "type": "HandlerError",
            "file": "handler.py",
            "line": 3,
            "message": "handler.handler takes 1 argument, but it is called with two: (event, context)",
        },
    ),
    (
        {"handler.py": "def handler(event, context, *, db):\n    return 1\n"},
        "handler.handler",
        {"line": 1, "message": "handler.handler needs the keyword argument 'db', but it is called with two: (event, context)"},
    ),
    ({"handler.py": ""}, "handler", {"message": "the handler 'handler' is not of the form MODULE.FUNCTION"}),
]


@pytest.mark.parametrize(("files", "handler", "expected"), LOADING, ids=[str(e["message"])[:40] for _, _, e in LOADING])
def test_a_function_that_does_not_load_says_where(
    files: dict[str, str], handler: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    write_files(tmp_path, files)
    with running(PYTHON, tmp_path, handler=handler) as instance:
        payload = instance.connect().failed()
        assert {key: payload.get(key) for key in expected} == expected
        assert not any("dayfly" in text or "importlib" in text for text in payload["trace"])
        assert instance.exit_status() == 1
        assert expected["message"] in instance.log("stderr")


def test_an_unknown_contract_is_told(tmp_path: Path) -> None:
    with running(PYTHON, tmp_path, contract="other") as instance:
        known = ", ".join(sorted(CONTRACTS))
        assert instance.connect().failed()["message"] == f"there is no contract 'other' for Python; there is: {known}"


@pytest.mark.parametrize(
    "source",
    [
        "def handler(*args): return 1",
        "def handler(event, context, more=None): return 1",
        "handler = lambda event, context: 1",
        "class C:\n    def __call__(self, event, context): return 1\nhandler = C()",
        "class C:\n    def run(self, event, context): return 1\nhandler = C().run",
        "import functools\ndef f(x, event, context): return x\nhandler = functools.partial(f, 1)",
        "import functools\nasync def f(x, event, context): return x\nhandler = functools.partial(f, 1)",
        "class C:\n    async def __call__(self, event, context): return 1\nhandler = C()",
        "class C:\n    @staticmethod\n    def run(event, context): return 1\nhandler = C.run",
    ],
)
@pytest.mark.parametrize("concurrency", [1, 2])
def test_every_kind_of_callable_is_a_handler(source: str, concurrency: int, tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": source})
    with running(PYTHON, tmp_path, concurrency=concurrency) as instance:
        link = instance.connect()
        link.ready()
        assert link.call().json == 1


RAISES = """
import json

class Problem(Exception):
    pass

class Broken(Exception):
    def __str__(self):
        raise RuntimeError

def down(n):
    return down(n - 1) if n else 1 / 0

def handler(event, context):
    if event == "library":
        json.loads("{")
    if event == "cause":
        try:
            {}["x"]
        except KeyError as error:
            raise Problem("wrapped") from error
    if event == "context":
        try:
            {}["x"]
        except KeyError:
            raise Problem("by accident")
    if event == "hidden":
        try:
            {}["x"]
        except KeyError:
            raise Problem("alone") from None
    if event == "long":
        raise Problem("\\0" * 1_000_000)
    if event == "broken":
        raise Broken
    if event == "deep":
        down(500)
    if event == "endless":
        down(-1)
    if event == "exit":
        raise GeneratorExit
    if event == "loop":
        error = Problem("loop")
        error.__cause__ = error
        raise error
    if event == "winding":
        ping(400)
    return 1

def ping(n):
    return pong(n - 1) if n else 1 / 0

def pong(n):
    return ping(n)
"""


@pytest.fixture
def link(tmp_path: Path) -> Any:
    write_files(tmp_path, {"handler.py": RAISES})
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        link.ready()
        yield link


def error_of(link: Link, event: str) -> dict[str, Any]:
    error = link.call(event).error
    assert error is not None
    return error


def test_a_trace_holds_the_users_frames(link: Link) -> None:
    error = error_of(link, "library")
    assert error["type"] == "json.decoder.JSONDecodeError"
    assert error["trace"][0] == 'File "handler.py", line 16, in handler\n    json.loads("{")'
    assert all("/json/" in text for text in error["trace"][1:])


@pytest.mark.parametrize(
    ("event", "message", "last"),
    [
        ("cause", "wrapped", "caused by KeyError: 'x' at File \"handler.py\", line 19"),
        ("context", "by accident", "while handling KeyError: 'x' at File \"handler.py\", line 24"),
    ],
)
def test_causes_are_told_shortly(link: Link, event: str, message: str, last: str) -> None:
    error = error_of(link, event)
    assert (error["type"], error["message"], error["trace"][-1]) == ("handler.Problem", message, last)


def test_hidden_and_circular_causes(link: Link) -> None:
    assert len(error_of(link, "hidden")["trace"]) == 1
    assert len(error_of(link, "loop")["trace"]) == 1


def test_everything_is_bounded(link: Link) -> None:
    assert len(error_of(link, "long")["message"]) == 8192 + len("... (cut)")
    assert error_of(link, "broken")["message"] == "<the exception's own __str__ raised RuntimeError>"
    deep = error_of(link, "deep")["trace"]
    assert [line.partition(" in ")[2].split("\n")[0] or line for line in deep] == [
        "handler", "down", "down", "down", "... repeated 498 more times ..."
    ]  # fmt: skip
    winding = error_of(link, "winding")["trace"]
    assert len(winding) == 51
    assert "752 frames left out" in winding[25]
    assert error_of(link, "endless")["type"] == "RecursionError"
    assert error_of(link, "exit")["type"] == "GeneratorExit"
    assert link.call("fine").json == 1
