"""How user code is called. A contract loads the function and says how to invoke it; `CONTRACTS` names them.

Dayfly's own, `dayfly`: `handler(event, context)`, plain or async or a generator of either kind. `handler` is MODULE.FUNCTION, the module
dotted or with slashes, looked up in the package's root. Flavour `event`: the event is the decoded JSON body ({} if there is none). Flavour
`http`: it is a `request.Request`. What may be returned: see `reply`.
"""

from __future__ import annotations

import importlib
import os

from . import actionloop, whisk
from .context import Context
from .errors import LoadFailed
from .request import Request
from .strict_json import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional

    Rest = Optional[Callable[[], bytes]]  # waits for more of the body; b"" is its end
    Invoke = Callable[[dict[str, Any], bytes, Rest], Any]

_VARARGS, _COROUTINE, _ASYNC_GENERATOR = 0x04, 0x80, 0x200  # co_flags


class BadEvent(Exception):
    """The caller's body is not what the function takes."""


class Entry:
    """A loaded function. `invoke(head, body, rest)` returns what user code returned; `http` says whether an answer is an HTTP
    response rather than a value; `is_async` whether it wants an event loop."""

    __slots__ = ("http", "invoke", "is_async")

    def __init__(self, invoke: Invoke, http: bool, is_async: bool) -> None:
        self.invoke = invoke
        self.http = http
        self.is_async = is_async


def load(work: dict[str, Any]) -> Entry:
    """Load user code. Raises whatever it raises, or LoadFailed."""
    name = work.get("contract") or "dayfly"
    try:
        loader = CONTRACTS[name]
    except KeyError:
        raise LoadFailed(f"there is no contract {name!r} for Python; there is: {', '.join(sorted(CONTRACTS))}") from None
    return loader(work)


def _dayfly(work: dict[str, Any]) -> Entry:
    handler = find(str(work["handler"]), str(work["task_root"]))
    http = work.get("flavour") == "http"
    is_async = bool(_flags(handler) & (_COROUTINE | _ASYNC_GENERATOR))
    return Entry(_http_invoke(handler, work) if http else _event_invoke(handler, work), http, is_async)


def _event_invoke(handler: Callable[[Any, Context], Any], work: dict[str, Any]) -> Invoke:
    def invoke(head: dict[str, Any], body: bytes, rest: Rest) -> Any:
        if rest is not None:
            body += b"".join(iter(rest, b""))
        if body:
            try:
                event = loads(body)
            except (ValueError, RecursionError) as error:
                raise BadEvent(f"the event is not JSON: {error}"[:500]) from None
        else:
            event = {}
        return handler(event, Context(work, head))

    return invoke


def _http_invoke(handler: Callable[[Any, Context], Any], work: dict[str, Any]) -> Invoke:
    def invoke(head: dict[str, Any], body: bytes, rest: Rest) -> Any:
        http = head.get("http")
        if http is None:  # an event sent to a function that speaks HTTP
            http = {"method": "POST", "path": "/", "query": "", "headers": [["content-type", "application/json"]]}
        return handler(Request(http, body, rest), Context(work, head))

    return invoke


def _actionloop(work: dict[str, Any]) -> Entry:
    return Entry(actionloop.load(work), False, False)


def _whisk(work: dict[str, Any]) -> Entry:
    return Entry(whisk.load(work), False, False)


CONTRACTS: dict[str, Callable[[dict[str, Any]], Entry]] = {"dayfly": _dayfly, "whisk": _whisk, "actionloop": _actionloop}


def find(handler: str, root: str) -> Callable[[Any, Context], Any]:
    """Import MODULE and return FUNCTION of it."""
    path, _, name = handler.rpartition(".")
    module_name = path.replace("/", ".")
    if not path or not name:
        raise LoadFailed(f"the handler {handler!r} is not of the form MODULE.FUNCTION")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise
        raise LoadFailed(_no_module(module_name, root)) from None
    file = str(getattr(module, "__file__", "") or "")
    found = getattr(module, name, None)
    if found is None:
        names = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module_name]
        listed = ", ".join(sorted(n for n in names if not n.startswith("_"))[:20])
        raise LoadFailed(
            f"{module_name} has no function {name!r}; " + (f"it has: {listed}" if listed else "it defines no function at all"),
            file,
        )
    if not callable(found):
        raise LoadFailed(f"{handler} is a {type(found).__name__}, not a function", file)
    _check_signature(found, handler, file)
    return found  # type: ignore[no-any-return]


def _no_module(name: str, root: str) -> str:
    where = os.path.join(root, *name.split(".")[:-1])
    try:
        entries = sorted(os.listdir(where))
    except OSError:
        entries = []
    have = [e for e in entries if e.endswith(".py") or os.path.isdir(os.path.join(where, e))]
    listed = ", ".join(have[:20]) or "no Python file at all"
    return f"the package has no module {name!r} ({name.replace('.', '/')}.py); in that place it has: {listed}"


def _plain(function: Any) -> tuple[Any, int]:
    """What is really called (of a method or a callable object), and how many leading arguments are bound already."""
    if hasattr(function, "__func__"):
        return function.__func__, 1
    if not hasattr(function, "__code__") and not isinstance(function, type):
        if hasattr(type(function).__call__, "__code__"):
            return type(function).__call__, 1
    return function, 0


def _flags(function: Any) -> int:
    target, _ = _plain(getattr(function, "func", function))  # functools.partial
    return int(target.__code__.co_flags) if hasattr(target, "__code__") else 0


def _check_signature(function: Any, handler: str, file: str) -> None:
    """That it can be called with two arguments. Without `inspect`, whose import would cost a cold start more than the rest of it."""
    target, bound = _plain(function)
    if not hasattr(target, "__code__"):
        return
    code = target.__code__
    needed = code.co_argcount - bound - len(target.__defaults__ or ())
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    missing = [k for k in keywords if k not in (target.__kwdefaults__ or {})]
    takes = code.co_argcount - bound
    if needed <= 2 <= takes or (needed <= 2 and code.co_flags & _VARARGS):
        if not missing:
            return
        problem = f"needs the keyword argument {missing[0]!r}"
    else:
        problem = f"takes {takes} argument{'' if takes == 1 else 's'}"
    raise LoadFailed(
        f"{handler} {problem}, but it is called with two: (event, context)", code.co_filename or file, code.co_firstlineno
    )
