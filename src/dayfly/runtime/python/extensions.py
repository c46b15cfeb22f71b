"""The extensions of one instance of AWS Lambda: who registered, and the events that each is told.

External ones are programs in /opt/extensions, started before the runtime; internal ones register from within the runtime's process.
They register while the instance starts, and each says with its first `event/next` that it is ready. Then it hears of every call
(INVOKE) and of the end (SHUTDOWN). An instance is at rest when the runtime and all of them wait for what comes next.

Wire: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
"""

from __future__ import annotations

import json
import threading
import uuid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Dict, List, Optional

    from .httpserver import Exchange
    from .telemetry import Telemetry

PATH = "/2020-01-01/extension/"
LIMIT = 10  # extensions of one instance
_BODY = 64 << 10  # bytes of a request
_OK = b'{"status":"OK"}'
_SUBSCRIPTIONS = {"/2022-07-01/telemetry": True, "/2020-08-15/logs": False}


class Extension:
    """One extension: registered when it has an identifier, ready when it has waited for an event once."""

    def __init__(self, name: str, external: bool) -> None:
        self.name = name
        self.external = external
        self.identifier = ""
        self.events: List[str] = []
        self.ready = False
        self.waits = False
        self.pid = 0  # of an external one
        self.ended = False
        self._inbox: List[Dict[str, Any]] = []

    def tell(self, event: Dict[str, Any]) -> None:
        if event["eventType"] in self.events:
            self._inbox.append(event)
            self.waits = False

    def heard(self) -> Optional[Dict[str, Any]]:
        return self._inbox.pop(0) if self._inbox else None


class Extensions:
    """All of one instance. `change` guards everything here; whoever changes something notifies it.

    `about`: functionName, functionVersion, handler, accountId, as a registration is answered. `failed(kind, message)` hears of an
    extension that reported an error.
    """

    def __init__(
        self,
        about: Dict[str, str],
        change: threading.Condition,
        telemetry: Telemetry,
        failed: Callable[[str, str], None],
        say: Callable[[str], object],
    ) -> None:
        self._about = about
        self._change = change
        self._telemetry = telemetry
        self._failed = failed
        self._say = say
        self._all: List[Extension] = []
        self.closed = False  # the instance has started: nobody registers any more

    def __iter__(self) -> Iterator[Extension]:
        return iter(self._all)

    def launch(self, name: str) -> Extension:
        """An external one that is about to be started."""
        made = Extension(name, True)
        self._all.append(made)
        return made

    @property
    def any(self) -> bool:
        return bool(self._all)

    @property
    def registered(self) -> bool:
        """Whether all external ones have registered: then the runtime may start."""
        return all(extension.identifier for extension in self._all)

    @property
    def ready(self) -> bool:
        return all(extension.ready for extension in self._all)

    @property
    def at_rest(self) -> bool:
        return all(extension.waits or extension.ended for extension in self._all)

    @property
    def grace_s(self) -> float:
        """Seconds that Lambda leaves them to end."""
        if not self._all:
            return 0.0
        return 2.0 if any(extension.external for extension in self._all) else 0.5

    def tell(self, event: Dict[str, Any]) -> None:
        """An event for all that asked for its kind. With `change` held."""
        for extension in self._all:
            extension.tell(event)
        self._change.notify_all()

    def close(self) -> None:
        """Nobody registers any more; say who did."""
        self.closed = True
        for extension in self._all:
            listed = ", ".join(extension.events)
            self._say("EXTENSION\tName: %s\tState: Ready\tEvents: [%s]\n" % (extension.name, listed))
            self._telemetry.event("platform.extension", {"name": extension.name, "state": "Ready", "events": extension.events})

    # --- what they ask ------------------------------------------------------------------------------------------------------

    def answer(self, exchange: Exchange) -> bool:
        """Serve this request if it is one of the Extensions, Telemetry or Logs API."""
        path, method = exchange.path, exchange.method
        if path == PATH + "register" and method == "POST":
            self._register(exchange)
        elif path == PATH + "event/next" and method == "GET":
            self._next(exchange)
        elif path in (PATH + "init/error", PATH + "exit/error") and method == "POST":
            self._error(exchange, "Extension.InitError" if path == PATH + "init/error" else "Extension.ExitError")
        elif path in _SUBSCRIPTIONS and method == "PUT":
            extension = self._of(exchange)
            if extension is not None and self.closed:
                exchange.refuse(403, "Telemetry.SubscriptionClosed", "Telemetry API subscription is closed already")
            elif extension is not None:
                self._telemetry.subscribe(exchange, extension.name, _SUBSCRIPTIONS[path])
        else:
            return False
        return True

    def _register(self, exchange: Exchange) -> None:
        name = exchange.headers.get("lambda-extension-name", "")
        try:
            events = json.loads(exchange.body(_BODY) or b"{}").get("events") or []
        except (ValueError, AttributeError):
            exchange.refuse(403, "InvalidRequestFormat", "the body is not a JSON object with `events`")
            return
        if not name:
            exchange.refuse(403, "Extension.InvalidExtensionName", "Empty extension name")
            return
        with self._change:
            extension = next((e for e in self._all if e.name == name), None)
            kinds = ("INVOKE", "SHUTDOWN") if extension is not None and extension.external else ("INVOKE",)
            refused = self._refusal(extension, [event for event in events if event not in kinds])
            if refused is None:
                if extension is None:
                    extension = Extension(name, False)
                    self._all.append(extension)
                extension.events = list(events)
                extension.identifier = str(uuid.uuid4())
                self._change.notify_all()
        if refused is not None:
            exchange.refuse(403, *refused)
            return
        assert extension is not None
        told = {key: value for key, value in self._about.items() if key != "accountId"}
        if "accountId" in exchange.headers.get("lambda-extension-accept-feature", ""):
            told["accountId"] = self._about["accountId"]
        exchange.reply(200, json.dumps(told).encode(), [("Lambda-Extension-Identifier", extension.identifier)])

    def _refusal(self, extension: Optional[Extension], unknown: List[Any]) -> Optional[tuple[str, str]]:
        """Why this extension (None: a new one) may not register for its events; None if it may."""
        if unknown:
            return "Extension.InvalidEventType", "%s: there is no such event for this extension" % str(unknown[0])[:64]
        if extension is not None and extension.identifier:
            return "Extension.InvalidExtensionState", "Extension with this name already registered"
        if self.closed:
            return "Extension.RegistrationClosed", "Extension registration closed already"
        if extension is None and len(self._all) >= LIMIT:
            return "Extension.TooManyExtensions", "Extension limit (%d) reached" % LIMIT
        return None

    def _of(self, exchange: Exchange) -> Optional[Extension]:
        """Who asks. If nobody that we know, the request has been refused."""
        identifier = exchange.headers.get("lambda-extension-identifier", "")
        if not identifier:
            exchange.refuse(403, "Extension.MissingHeader", "Missing Lambda-Extension-Identifier header")
            return None
        extension = next((e for e in self._all if e.identifier == identifier), None)
        if extension is None:
            exchange.refuse(403, "Extension.UnknownExtensionIdentifier", "Unknown extension identifier")
        return extension

    def _next(self, exchange: Exchange) -> None:
        extension = self._of(exchange)
        if extension is None:
            return
        with self._change:
            extension.ready = extension.waits = True
            self._change.notify_all()
            event = extension.heard()
            while event is None:
                self._change.wait()
                event = extension.heard()
            extension.waits = False
        exchange.reply(200, json.dumps(event).encode(), [("Lambda-Extension-Event-Identifier", str(uuid.uuid4()))])

    def _error(self, exchange: Exchange, kind: str) -> None:
        extension = self._of(exchange)
        if extension is None:
            return
        if "lambda-extension-function-error-type" not in exchange.headers:
            exchange.refuse(403, "Extension.MissingHeader", "Missing Lambda-Extension-Function-Error-Type header")
            return
        exchange.body(_BODY)
        exchange.reply(202, _OK)
        self._failed(kind, exchange.headers["lambda-extension-function-error-type"][:256])
