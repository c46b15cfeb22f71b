"""Guessing runtime and handler from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dayfly.build.detect import Detected, detect
from dayfly.errors import BuildFailed

RUNTIMES = ("python3.8", "python3.11", "python3.13", "nodejs", "provided")
PY = "def handler(event, context):\n    return event\n"
JS = "exports.handler = async (event) => event;\n"


def guess(folder: Path, files: dict[str, str], **given: str) -> Detected:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return detect(folder, runtimes=RUNTIMES, **given)


@pytest.mark.parametrize(
    ("files", "runtime", "handler"),
    [
        ({"handler.py": PY}, "python3.13", "handler.handler"),
        ({"main.py": "def main(event, context): ..."}, "python3.13", "main.main"),
        ({"app.py": "async def handle(event, context): ..."}, "python3.13", "app.handle"),
        ({"handler.py": PY, "main.py": PY}, "python3.13", "handler.handler"),
        (
            {"thumbnail.py": "def _private(a, b): ...\ndef one(a): ...\ndef resize(e, c): ..."},
            "python3.13",
            "thumbnail.resize",
        ),
        ({"helpers.py": "def one(a): ...", "report.py": "def report(e, c=None): ..."}, "python3.13", "report.report"),
        ({"main.py": "def a(e, c): ...\ndef handler(e, c): ..."}, "python3.13", "main.handler"),
        ({"main.py": "def main(): ...\ndef work(*args): ..."}, "python3.13", "main.work"),
        ({"handler.py": PY, "pyproject.toml": '[project]\nrequires-python = ">=3.9,<3.12"'}, "python3.11", "handler.handler"),
        ({"handler.py": PY, "pyproject.toml": '[project]\nrequires-python = "~=3.8.1"'}, "python3.8", "handler.handler"),
        ({"handler.py": PY, "pyproject.toml": "broken ["}, "python3.13", "handler.handler"),
        ({"main.py": "def main(event, context:"}, "python3.13", "main.main"),
        ({"index.js": JS}, "nodejs", "index.handler"),
        ({"index.mjs": "export async function handler(event) {}"}, "nodejs", "index.handler"),
        ({"index.mjs": "const main = 1;\nexport { main, other as main2 }"}, "nodejs", "index.main"),
        ({"app.js": "module.exports = { main: work, }"}, "nodejs", "app.main"),
        ({"package.json": '{"main": "./src/start.js"}', "src/start.js": JS}, "nodejs", "src/start.handler"),
        ({"package.json": '{"main": "../../../etc/passwd"}', "index.js": JS}, "nodejs", "index.handler"),
        ({"webhook.js": "exports.receive = (e, c) => 1"}, "nodejs", "webhook.receive"),
        ({"bootstrap": "#!/bin/sh", "main.py": PY}, "provided", ""),
    ],
)
def test_conventions_and_only_choices_are_found(files: dict[str, str], runtime: str, handler: str, tmp_path: Path) -> None:
    assert guess(tmp_path, files) == Detected(runtime, handler)


def test_what_is_given_is_kept(tmp_path: Path) -> None:
    files = {"handler.py": PY, "index.js": JS, "other.py": PY}
    assert guess(tmp_path, files, runtime="python3.8") == Detected("python3.8", "handler.handler")
    assert guess(tmp_path, files, runtime="nodejs") == Detected("nodejs", "index.handler")
    assert guess(tmp_path, files, handler="other.run") == Detected("python3.13", "other.run")
    assert guess(tmp_path, files, handler="index.run") == Detected("nodejs", "index.run")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"handler.py": PY, "index.js": JS}, "Python or Node"),
        ({"README.md": ""}, "none of the kinds known here; it has: README.md"),
        ({"main.py": "def a(e, c): ...\ndef b(e, c): ..."}, "several functions could be the handler: main.a, main.b"),
        ({"a.py": PY, "b.py": PY}, "several functions could be the handler: a.handler, b.handler"),
        ({"main.py": "def main(): ..."}, "no function could be the handler; the modules are: main"),
        ({"main.py": "def other(:"}, "no function could be the handler"),
        ({"index.js": "exports.a = 1\nexports.b = 2"}, "index.a, index.b"),
        ({"index.js": "console.log(1)"}, "no function could be the handler"),
        (
            {"handler.py": PY, "pyproject.toml": '[project]\nrequires-python = ">=3.14"'},
            "requires Python >=3.14; this machine has: py",
        ),
    ],
)
def test_a_guess_that_could_be_wrong_is_refused_and_says_how_to_choose(
    files: dict[str, str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(BuildFailed) as caught:
        guess(tmp_path, files)
    assert words in caught.value.detail
    assert caught.value.hint


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"no module 'shop\.nope', where the handler should be; it has: a\.py"):
        guess(tmp_path, {"a.py": PY}, handler="shop.nope.main")


@pytest.mark.parametrize("handler", [".x", "/etc/passwd.x", "a..b", "../../a.b", "\0.a"])
def test_a_handler_is_never_a_path_out(handler: str, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"MODULE\.FUNCTION"):
        guess(tmp_path, {"a.py": PY}, handler=handler)


def test_source_is_read_and_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    guess(tmp_path, {"handler.py": f"open({str(trap)!r}, 'w')\n{PY}"})
    assert not trap.exists()
