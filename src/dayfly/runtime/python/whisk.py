"""The contract of OpenWhisk's Python actions: `main(args)` of `__main__.py` takes a dictionary (or list) and returns one.

What it raises becomes the answer {"error": text}, which is the application's error; an answer that is no dictionary or list is the
developer's. A folder `virtualenv` beside `__main__.py` is added to the path. What changes from call to call stands in the environment:
`__OW_ACTIVATION_ID`, `__OW_DEADLINE` (milliseconds since the epoch) and `__OW_TRANSACTION_ID`; and `__OW_API_KEY`, if the action wants
one. Where functions reach the platform by a router of their own, host and key are those of the instance: its own token.
Source: the project's docs/actions-new.md and docs/actions-python.md.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback

from .errors import LoadFailed
from .strict_json import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional

    from .contract import Rest

NO_DICTIONARY = "The action did not return a dictionary or array."


_changed: dict[str, Optional[str]] = {}  # variables that the call before set, and what they were


class DeveloperError(Exception):
    """The answer is not what an action may return. The message is all that its caller sees."""


def load(work: dict[str, Any]) -> Callable[[dict[str, Any], bytes, Rest], Any]:
    """Load the action; the function that runs it. Raises what its code raises, or LoadFailed."""
    root = str(work["task_root"])
    file = os.path.join(root, "__main__.py")
    if not os.path.isfile(file):
        raise LoadFailed("Zip file does not include mandatory files.")
    _activate(os.path.join(root, "virtualenv"))
    name = str(work["handler"]) or "main"
    spec = importlib.util.spec_from_file_location("main__", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["main__"] = module
    spec.loader.exec_module(module)
    main = getattr(module, name, None)
    if not callable(main):
        raise LoadFailed("cannot import name {!r} from the action: it is not a function of it".format(name), file)
    return invoker(main, defaults(work))


def _activate(folder: str) -> None:
    """What a virtual environment that travels with the action brings comes before everything else."""
    for lib in ("lib", "lib64"):
        base = os.path.join(folder, lib)
        for version in sorted(os.listdir(base)) if os.path.isdir(base) else ():
            packages = os.path.join(base, version, "site-packages")
            if os.path.isdir(packages) and packages not in sys.path:
                sys.path.insert(0, packages)


def defaults(work: dict[str, Any]) -> Callable[[Any], Any]:
    """What completes the arguments of a call with the action's parameters, for callers who do not know them."""
    text = (work.get("options") or {}).get("parameters") or "{}"
    names = frozenset(json.loads(text))

    def complete(args: Any) -> Any:
        return {**json.loads(text), **args} if isinstance(args, dict) and not names <= args.keys() else args

    return complete if names else lambda args: args


def set_call(head: dict[str, Any]) -> dict[str, str]:
    """Put what the action may know of this call into the environment; the same by the names of the contract, in lower case."""
    environ = os.environ
    while _changed:
        name, before = _changed.popitem()
        if before is None:
            environ.pop(name, None)
        else:
            environ[name] = before
    call = {
        "activation_id": head["id"],
        "transaction_id": head["id"],
        "deadline": str(int(head["deadline"] * 1000)),
    }
    if "client" in head:
        call.update(json.loads(head["client"]))
        for name, value in call.pop("init", {}).items():  # parameters that are environment
            _changed[name] = environ.get(name)
            environ[name] = value
        if "api_key" in call and "DAYFLY_TOKEN" in environ:
            call["api_key"] = "dayfly:" + environ["DAYFLY_TOKEN"]
    for key, value in call.items():
        environ["__OW_" + key.upper()] = value
    return call


def invoker(main: Callable[[Any], Any], complete: Callable[[Any], Any]) -> Callable[[dict[str, Any], bytes, Rest], Any]:
    """What calls an action's function, with its arguments completed."""
    if "DAYFLY_URL" in os.environ:
        os.environ["__OW_API_HOST"] = os.environ["DAYFLY_URL"]

    def invoke(head: dict[str, Any], body: bytes, rest: Rest) -> Any:
        if rest is not None:
            body += b"".join(iter(rest, b""))
        set_call(head)
        try:
            result = main(complete(loads(body) if body else {}))
            if hasattr(result, "__await__"):
                return _awaited(result)
        except Exception as error:
            return _failed(error)
        return _checked(result)

    return invoke


async def _awaited(awaitable: Any) -> Any:
    try:
        result = await awaitable
    except Exception as error:
        return _failed(error)
    return _checked(result)


def _failed(error: Exception) -> dict[str, str]:
    traceback.print_exc(file=sys.stderr)
    return {"error": str(error)}


def _checked(result: Any) -> Any:
    if not isinstance(result, (dict, list)):
        raise DeveloperError(NO_DICTIONARY)
    return result
