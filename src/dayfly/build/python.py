"""Dependencies of Python functions: requirements.txt, or [project].dependencies of pyproject.toml.

Installed by pip, into a folder of their own, with the interpreter that will run the function. By pip and not by a faster installer,
because pip is what reads the machine's pip configuration (index, proxy, certificates). An interpreter without pip is lent Dayfly's.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
import tomllib
from pathlib import Path

from ..errors import BuildFailed
from .install import Blame, Install
from .interpreters import Interpreter

LIMIT = 1 << 20  # bytes of a file that lists dependencies

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
# Lines that mean the same in every package. Anything else may refer to files beside it.
_PLAIN = re.compile(
    rf"{_NAME}\s*(\[[^\]]*\])?\s*(\(?[<>=!~][^@/\\]*)?(;.*)?\Z|{_NAME}\s*(\[[^\]]*\])?\s*@\s*(git\+)?https?://\S+(\s*;.*)?\Z"
)
_OPTION = re.compile(
    r"(-i|--index-url|--extra-index-url|--trusted-host|-f|--find-links)[= ]\s*[A-Za-z][\w.:@/%~+-]*\Z"
    r"|--(no-index|pre|prefer-binary|require-hashes)\Z|--(no-binary|only-binary)[= ]\s*[\w.,:-]+\Z"
)


def plan(folder: Path, digest: str, runtime: str, interpreter: Interpreter) -> Install | None:
    """What to install for the package in `folder`; None if it asks for nothing. Raises BuildFailed for files that cannot be read."""
    label, text = wanted(folder)
    lines = normalised(text)
    if not lines:
        return None
    alone = all(self_contained(line) for line in lines)
    command, lent = _pip(interpreter.executable)
    return Install(
        kind="python",
        label=label,
        wish=(runtime, *lines, "" if alone else digest),
        files={"requirements.txt": text.encode()},
        tree=None if alone else folder,
        argv=(
            *(interpreter.executable, "-I", *command, "install", "--target", "/build/out", "--requirement", "requirements.txt"),
            *(
                "--no-input",
                "--disable-pip-version-check",
                "--no-cache-dir",
                "--no-warn-script-location",
                "--progress-bar",
                "off",
            ),
        ),
        env={
            "PATH": f"{os.path.dirname(interpreter.executable)}:/usr/local/bin:/usr/bin:/bin",
            "PIP_USER": "0",
            "PIP_ROOT_USER_ACTION": "ignore",
        },
        extra=lent,
        produced="out",
        mount="/var/deps",
        blame=functools.partial(blame, label, read(folder / label)),
    )


def wanted(folder: Path) -> tuple[str, str]:
    """(name of the file that lists dependencies, its list in the form of requirements.txt); ("", "") if there is none."""
    if (folder / "requirements.txt").is_file():
        return "requirements.txt", read(folder / "requirements.txt")
    if not (folder / "pyproject.toml").is_file():
        return "", ""
    text = read(folder / "pyproject.toml")
    try:
        project = tomllib.loads(text).get("project", {})
        listed = project.get("dependencies", []) if isinstance(project, dict) else []
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        raise BuildFailed(
            f"pyproject.toml cannot be read: {error}",
            hint="correct it",
            file="pyproject.toml",
            line=int(line[1]) if line else 0,
        ) from None
    if not isinstance(listed, list) or not all(isinstance(item, str) and "\n" not in item for item in listed):
        raise BuildFailed(
            "[project].dependencies of pyproject.toml is not a list of texts", hint="correct it", file="pyproject.toml"
        )
    return "pyproject.toml", "".join(f"{item}\n" for item in listed)


def read(file: Path) -> str:
    """The text of a file that lists dependencies. Raises BuildFailed if it is too large or not text."""
    if not file.is_file():
        return ""
    with file.open("rb") as opened:
        data = opened.read(LIMIT + 1)
    try:
        if len(data) <= LIMIT:
            return data.decode("utf-8-sig")
        what = f"is over {LIMIT >> 20} MiB"
    except UnicodeDecodeError:
        what = "is not UTF-8"
    raise BuildFailed(f"{file.name} {what}", hint="correct it", file=file.name)


def normalised(text: str) -> list[str]:
    """The lines that count: continued lines joined, comments and outer space removed."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (re.sub(r"(^|\s+)#.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def self_contained(line: str) -> bool:
    """Whether the line means the same wherever it stands, so that packages can share what it installs."""
    line = re.sub(r"(\s+--hash[= ]\w+:[0-9a-f]+)+\Z", "", line)
    option = _OPTION.match(line)
    if option and line.startswith(("-f", "--find-links", "-i", "--index-url", "--extra-index-url")):
        return "://" in line and "file:" not in line
    return bool(option or _PLAIN.match(line))


@functools.cache
def _pip(executable: str) -> tuple[tuple[str, ...], tuple[tuple[Path, str], ...]]:
    """(arguments that start pip, folders to lend). Asks the interpreter once."""
    asked = subprocess.run([executable, "-I", "-c", "import pip"], capture_output=True, check=False, timeout=30)
    if asked.returncode == 0:
        return ("-m", "pip"), ()
    own = importlib.util.find_spec("pip")
    if own is None or own.origin is None:
        raise BuildFailed(
            f"{executable} has no pip, and Dayfly has none to lend", hint=f"install it, e.g. {executable} -m ensurepip"
        )
    return ("/build/lent/pip",), ((Path(own.origin).parent, "lent/pip"),)


_LINE = re.compile(r"\(?from line (\d+) of|\brequirements\.txt \(line (\d+)\)")
_CULPRITS = (
    re.compile(r"No matching distribution found for ([^\s;]+)"),
    re.compile(r"Could not find a version that satisfies the requirement ([^\s;]+)"),
    re.compile(r"Invalid requirement: '([^']+)'"),
    re.compile(
        r"Failed (?:building wheel for|to build(?: installable wheels for some pyproject.toml based projects \()?) ?'?([\w.-]+)"
    ),
    re.compile(r"Could not build wheels for ([\w.-]+)"),
)


def blame(label: str, source: str, log: str) -> Blame:
    """The line that made pip fail, where its log tells."""
    errors = [line for line in log.splitlines() if line.startswith("ERROR:")]
    what = errors[-1].removeprefix("ERROR: ")[:300] if errors else ""
    numbered = _LINE.search("\n".join(errors))
    if label == "requirements.txt" and numbered:
        return Blame(label, int(numbered[1] or numbered[2]), what)
    for pattern in _CULPRITS:
        if found := pattern.search(log):
            return Blame(label, _line_of(found[1], source), what)
    return Blame(label, 0, what)


def _line_of(requirement: str, source: str) -> int:
    name = re.match(_NAME, requirement)
    if name is None:
        return 0
    spelled = re.sub(r"[-_.]+", "[-_.]+", name[0])
    for number, line in enumerate(source.splitlines(), 1):
        if re.search(rf"(^|[\s\"'\[,]){spelled}(?![\w.-]*\w)", re.sub(r"(^|\s)#.*", "", line), re.IGNORECASE):
            return number
    return 0
