"""The patterns of names mean the same to msgspec, to Python's `re` and to the JavaScript that reads them in the OpenAPI description."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from dayfly.api.query import VOCABULARY
from dayfly.model.function import Config, Target
from dayfly.model.names import ALIAS_PATTERN, ENV_PATTERN, NAME_PATTERN, SECRET_PATTERN, valid_alias, valid_name
from tests.support.machine import needs_node

CASES = [
    (NAME_PATTERN, ("a", "a-b_c", "0", "a" * 63), ("", "A", "-a", "a-", "a" * 64)),
    (ALIAS_PATTERN, ("live", "v2", "2x", "-"), ("", "12", "a.b", "a" * 129)),
    (ENV_PATTERN, ("A", "_a1", "A" * 256), ("", "1A", "A-B", "A=B", "A" * 257)),
    (SECRET_PATTERN, ("a", "a.b-c_D", "1"), ("", "a/b", "a" * 128)),
]
EVERY = [
    (pattern, text, fits) for pattern, good, bad in CASES for texts, fits in ((good, True), (bad, False)) for text in texts
]
EVERY += [(pattern, text + end, False) for pattern, good, _ in CASES for text in good for end in ("\n", "\r", "\0", "\nx")]


def accepts(type_: object, text: str) -> bool:
    try:
        msgspec.convert(text, type_)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize(("pattern", "text", "fits"), EVERY)
def test_python_reads_them_the_same_way(pattern: str, text: str, fits: bool) -> None:
    assert accepts(Annotated[str, Meta(pattern=pattern)], text) is fits
    assert (re.search(pattern, text) is not None) is fits


@needs_node
def test_javascript_reads_them_the_same_way() -> None:
    program = "console.log(JSON.stringify(JSON.parse(process.argv[1]).map(([p, t]) => new RegExp(p, 'u').test(t))))"
    asked = json.dumps([(pattern, text) for pattern, text, _ in EVERY])
    said = subprocess.run(["node", "-e", program, asked], capture_output=True, text=True, check=True).stdout
    assert json.loads(said) == [fits for _, _, fits in EVERY]


def test_a_newline_at_the_end_is_part_of_a_name_nowhere() -> None:
    assert not valid_name("a\n")
    assert not valid_alias("a\n")
    assert not accepts(Target, {"revision": 1, "tag": "\n"})
    assert accepts(Target, {"revision": 1, "tag": ""})
    assert not accepts(Config, {"env": {"A\n": "x"}})
    assert not accepts(Config, {"secrets": {"A": "s\n"}})
    parameters = {"name": "f", "alias": "live", "id": "0" * 32, "filename": "handler.py", "since": "5m"}
    for parameter, text in parameters.items():
        assert accepts(VOCABULARY[parameter].type, text), parameter
        assert not accepts(VOCABULARY[parameter].type, text + "\n"), parameter
