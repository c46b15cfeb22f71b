"""Exceptions of user code as data: type, message, and a trace that holds the user's frames only.

Frames of this runtime and of the import machinery say nothing to the author of a function; they are dropped. Files are named relative
to the package. Everything is bounded, because a message may be a gigabyte and recursion a thousand frames.
"""

from __future__ import annotations

import importlib
import json
import linecache
import os
from itertools import groupby

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

MESSAGE_LIMIT = 8 << 10  # characters
FRAME_LIMIT = 50  # the first and the last half of a longer trace
REPEATED = 3  # times that one frame is told in a row
TEXT_LIMIT = 600  # characters of one frame
PAYLOAD_LIMIT = 200 << 10  # bytes; the frame protocol allows 256 KiB
_CAUSES = 3
_SILENT = (os.path.dirname(os.path.abspath(__file__)) + os.sep, "<frozen ", importlib.__file__)


class LoadFailed(Exception):
    """The function cannot be loaded for a reason that we found, not user code: a missing handler, a wrong signature."""

    def __init__(self, message: str, file: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.file = file
        self.line = line


def type_name(error: BaseException) -> str:
    """`ValueError`, `package.module.Problem`."""
    kind = type(error)
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__[:256]
    return f"{kind.__module__}.{kind.__qualname__}"[:256]


def message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as broken:
        text = f"<the exception's own __str__ raised {type(broken).__name__}>"
    return text if len(text) <= MESSAGE_LIMIT else text[:MESSAGE_LIMIT] + "... (cut)"


def _user_frames(trace: TracebackType | None, root: str) -> list[tuple[str, int, str]]:
    """(file, line, function), outermost first, beginning with the package's own code if it takes part."""
    found = []
    while trace is not None:
        code = trace.tb_frame.f_code
        name = code.co_filename
        if not name.startswith(_SILENT):
            found.append((name, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    inside = root.rstrip("/") + "/"
    for index, frame in enumerate(found):
        if frame[0].startswith(inside):
            return found[index:]
    return found


def _relative(name: str, root: str) -> str:
    prefix = root.rstrip("/") + "/"
    return name[len(prefix) :] if name.startswith(prefix) else name


def _frame_text(name: str, line: int, function: str, root: str) -> str:
    text = f'File "{_relative(name, root)}", line {line}, in {function}'
    source = linecache.getline(name, line).strip()
    return (f"{text}\n    {source}" if source else text)[:TEXT_LIMIT]


def trace_texts(error: BaseException, root: str) -> list[str]:
    """One text a frame, outermost first, then a line for each cause."""
    lines: list[tuple[str, int, str] | str] = []  # a frame gets its text when it is known to be told
    for frame, same in groupby(_user_frames(error.__traceback__, root)):
        number = sum(1 for _ in same)
        lines += [frame] * min(number, REPEATED)
        if number > REPEATED:  # as Python itself prints recursion
            lines.append(f"... repeated {number - REPEATED} more times ...")
    half = FRAME_LIMIT // 2
    if len(lines) > FRAME_LIMIT:
        lines[half:-half] = [f"... {len(lines) - 2 * half} frames left out ..."]
    texts = [line if isinstance(line, str) else _frame_text(*line, root=root) for line in lines]
    seen = {id(error)}
    cause: BaseException | None = error
    for _ in range(_CAUSES):
        assert cause is not None
        explicit = cause.__cause__
        cause = explicit if explicit is not None or cause.__suppress_context__ else cause.__context__
        if cause is None or id(cause) in seen:
            break
        seen.add(id(cause))
        verb = "caused by" if explicit is not None else "while handling"
        inner = _user_frames(cause.__traceback__, root)
        place = f' at File "{_relative(inner[-1][0], root)}", line {inner[-1][1]}' if inner else ""
        texts.append(f"{verb} {type_name(cause)}: {message(cause)}{place}"[:TEXT_LIMIT])
    return texts


def describe(error: BaseException, root: str) -> dict[str, Any]:
    """The payload of an ERROR frame."""
    linecache.checkcache()
    return {"type": type_name(error), "message": message(error), "trace": trace_texts(error, root)}


def describe_load(error: BaseException, root: str) -> dict[str, Any]:
    """The payload of a FAILED frame: like `describe`, with the file and line to look at."""
    linecache.checkcache()
    if isinstance(error, LoadFailed):
        payload: dict[str, Any] = {"type": "HandlerError", "message": message(error), "trace": []}
        file, line = error.file, error.line
    else:
        payload = describe(error, root)
        file, line = "", 0
        if isinstance(error, SyntaxError) and error.filename:
            file, line = error.filename, error.lineno or 0
            payload["message"] = str(error.msg)
            if error.text:
                payload["trace"].append(_frame_text(file, line, "<module>", root))
        else:
            inside = root.rstrip("/") + "/"
            for name, number, _ in _user_frames(error.__traceback__, root):
                if name.startswith(inside):
                    file, line = name, number
        if isinstance(error, SystemExit):
            payload["message"] = f"the code called sys.exit({error.code!r:.200}) while it was loaded"
    if file:
        payload["file"] = _relative(file, root)
    if line:
        payload["line"] = line
    return payload


def pack(payload: dict[str, Any]) -> bytes:
    """As JSON within the limit of a frame."""
    data = json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
    if len(data) > PAYLOAD_LIMIT:
        payload = dict(payload, trace=["(too long to send)"])
        data = json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
    return data


def log_text(payload: dict[str, Any]) -> str:
    """The same for the log, in the shape Python's readers know."""
    lines = ["Traceback (most recent call last):"] if payload["trace"] else []
    for text in payload["trace"]:
        lines.extend("  " + line for line in text.split("\n"))
    lines.append(f"{payload['type']}: {payload['message']}" if payload["message"] else payload["type"])
    return "\n".join(lines) + "\n"
