"""What the namespace `whisk.system` brings: the packages `utils` and `samples`, installed when somebody first asks for them.

Their behaviour is that of OpenWhisk's catalog, as its documentation tells it.
"""

from __future__ import annotations

import contextlib
from typing import Any

from ... import actions as a
from ...errors import Forbidden
from ...model.function import Config
from ..hook import Do, Head, Params, Reply, View
from . import entities as en
from .alarms import FEEDS, Alarms
from .invoke import Calls
from .profile import LIMITS, PROFILE, SYSTEM, kind_of
from .users import space

VERSION = "2"  # of the code below: another one is installed over it

_LINES = "    lines = args.get('lines') or []\n    if isinstance(lines, str):\n        lines = lines.split('\\n')\n"
PACKAGES: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "alarms": (
        "Alarms and periodic triggers",
        {
            name: (f"Fires a trigger: {name}", "def main(args):\n    return {'error': 'the platform does this'}\n")
            for name in FEEDS
        },
    ),
    "utils": (
        "Building blocks that format and assemble data",
        {
            "echo": ("Returns the input", "def main(args):\n    return args\n"),
            "cat": (
                "Concatenates lines into a text",
                f"def main(args):\n{_LINES}    return {{'lines': lines, 'payload': '\\n'.join(map(str, lines))}}\n",
            ),
            "split": (
                "Splits a text into lines",
                "def main(args):\n    payload = str(args.get('payload', ''))\n"
                "    return {'lines': payload.split(args.get('separator') or '\\n'), 'payload': payload}\n",
            ),
            "sort": (
                "Sorts lines",
                f"def main(args):\n{_LINES}    return {{'lines': sorted(lines, key=str), 'length': len(lines)}}\n",
            ),
            "head": (
                "Takes the first lines",
                f"def main(args):\n{_LINES}    num = int(args.get('num', 1))\n    return {{'lines': lines[:num], 'num': num}}\n",
            ),
            "date": (
                "Tells the date and time",
                "from datetime import datetime, timezone\ndef main(args):\n"
                "    return {'date': datetime.now(timezone.utc).isoformat()}\n",
            ),
            "smash": (
                "Makes one text of the whole input",
                "import json\ndef main(args):\n    return {'payload': json.dumps(args)}\n",
            ),
            "namespace": (
                "Tells the namespace of the caller",
                "import os\ndef main(args):\n    return {'namespace': os.environ['__OW_NAMESPACE']}\n",
            ),
            "hosturl": (
                "Tells the address of an action",
                "import os\ndef main(args):\n    path = args.get('path') or os.environ['__OW_ACTION_NAME']\n"
                "    return {'url': os.environ['__OW_API_HOST'] + '/api/v1/web' + path + args.get('ext', '')}\n",
            ),
        },
    ),
    "samples": (
        "A suite of simple actions to try things out with",
        {
            "helloWorld": (
                "Prints a greeting",
                "def main(args):\n    print('hello', args.get('payload', 'world'))\n    return {}\n",
            ),
            "greeting": (
                "Greets somebody from somewhere",
                "def main(args):\n    name, place = args.get('name', 'stranger'), args.get('place', 'somewhere')\n"
                "    return {'payload': f'Hello, {name} from {place}!'}\n",
            ),
            "wordCount": (
                "Counts the words of a text",
                "def main(args):\n    words = len(str(args.get('payload', '')).split())\n"
                "    print('The message has', words, 'words')\n    return {'count': words}\n",
            ),
            "echo": ("Returns the input", "def main(args):\n    return args\n"),
        },
    ),
}


class System:
    """Calls of the system's own actions. They take the wide lane, since the catalog may have to be installed first."""

    def __init__(self, view: View, calls: Calls, alarms: Alarms) -> None:
        self._view = view
        self._calls = calls
        self._alarms = alarms

    async def call(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        await install(self._view, do)
        package, _, name = params["name"].partition("/")
        if package == "alarms" and name in FEEDS:
            return await self._alarms.feed(name, head, body, do)
        invoke = self._calls.decode(head, params, body)
        return self._calls.encode(head, invoke, await do(invoke))


async def on_demand(view: View, do: Do, named: str) -> None:
    """Install the catalog if a request names it."""
    if SYSTEM in named:
        await install(view, do)


async def install(view: View, do: Do) -> None:
    """See that the catalog is there. Who may not install it, on a server that asks for a login, does without until somebody has."""
    where = space(SYSTEM)
    marker = view.document(where, en.PACKAGE, "samples")  # the last one
    if marker is not None and marker.body.get("catalog") == VERSION:
        return
    with contextlib.suppress(Forbidden):
        await do(a.PutNamespace(namespace=where))
        for package, (about, actions) in PACKAGES.items():
            for name, (description, code) in actions.items():
                await _action(where, f"{package}/{name}", description, code, do)
            body = _described(about) | {"publish": True, "parameters": [], "binding": {}, "catalog": VERSION}
            await do(a.PutDocument(namespace=where, kind=en.PACKAGE, name=package, body=body))


async def _action(where: str, name: str, description: str, code: str, do: Do) -> None:
    kind = kind_of("python:default")
    assert kind is not None
    limits = en.limits(None, {})
    config = Config(
        runtime=kind.runtime,
        handler="main",
        contract="whisk",
        memory_mb=LIMITS.memory[1],
        env={
            "__OW_NAMESPACE": SYSTEM,
            "__OW_ACTION_NAME": f"/{SYSTEM}/{name}",
            "__OW_ACTION_VERSION": "0.0.1",
            "__OW_API_HOST": "",
        },
    )
    await do(
        a.PutFunction(
            namespace=where,
            name=name,
            code=a.Code(files={"__main__.py": code}),
            config=config,
            profile=PROFILE.name,
            trial=False,
        )
    )
    body = _described(description) | {"publish": False, "parameters": [], "limits": limits}
    if name.startswith("alarms/"):
        body["annotations"].append({"key": "feed", "value": True})
    body["annotations"] += [{"key": "provide-api-key", "value": False}, {"key": "exec", "value": kind.name}]
    body["exec"] = {"kind": kind.name, "binary": False}
    await do(a.PutDocument(namespace=where, kind=en.ACTION, name=name, body=body))


def _described(text: str) -> dict[str, Any]:
    return {"version": "0.0.1", "annotations": [{"key": "description", "value": text}]}
