"""The entities of OpenWhisk: what clients send, checked, and the JSON they get back.

Actions, packages, triggers and rules are documents (`openwhisk/action` ...) with the fields of OpenWhisk's own JSON. The code of an action
is a function of the same name, `package/action` if it is in a package.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Struct

from ...errors import NotFound
from ...model.document import Document
from ..hook import Head, View
from .faults import BAD_NAME, MALFORMED, NOT_JSON, NOT_QUALIFIED, ON_BINDING, Rejected
from .profile import LIMITS, SEGMENT, kind_of_runtime
from .users import User, namespace_of, space

ACTION, PACKAGE, TRIGGER, RULE, API = (f"openwhisk/{kind}" for kind in ("action", "package", "trigger", "rule", "api"))
TOPIC = "whisk/"  # before the names of triggers and rules, as brokers and triggers of the core
FIRED = "broker:" + TOPIC  # so the records begin that firing a trigger leaves
KeyValues = list[dict[str, Any]]
_NAME = re.compile(SEGMENT + r"\Z")
LONGEST_NAME = 256  # characters
_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,2}")


# --- what is asked -------------------------------------------------------------------------------------------------------


def is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


def takes_json(head: Head) -> bool:
    """Whether a body with this head may be read as JSON: what does not say otherwise."""
    kind = head.get(b"content-type").partition(";")[0].strip().lower()
    return not kind or is_json(kind)


def content(head: Head, body: bytes) -> dict[str, Any]:
    """The JSON object of a request; {} if it has no body. Raises Rejected."""
    if not takes_json(head) and (body or head.method == "PUT"):
        raise Rejected(415, NOT_JSON)
    if not body:
        return {}
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(400, f"{MALFORMED}{error}") from None
    if not isinstance(value, dict):
        raise Rejected(400, f"{MALFORMED}Object expected")
    return value


@functools.lru_cache(maxsize=1024)
def _query(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(text, keep_blank_values=True))


def query(head: Head) -> dict[str, str]:
    """Decoded parameters; the first of a repeated one counts."""
    return dict(reversed(_query(head.query))) if head.query else {}


def flag(asked: dict[str, str], name: str, default: bool = False) -> bool:
    """A parameter that is true or false. Raises Rejected."""
    text = asked.get(name, "")
    if not text:
        return default
    value = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}.get(
        text.lower()
    )
    if value is None:
        raise Rejected(400, f"The query parameter '{name}' was malformed:\n'{text}' is not a valid Boolean value")
    return value


def number(asked: dict[str, str], name: str, collection: str) -> int:
    """`limit` or `skip` of a list. Raises Rejected."""
    default, most = LIMITS.page
    text = asked.get(name, "")
    if not text:
        return default if name == "limit" else 0
    malformed = f"The query parameter '{name}' was malformed:\n"
    if not re.fullmatch(r"[+-]?\d{1,9}", text):
        raise Rejected(400, f"{malformed}The value '{text[:80]}' is not an integer for {collection}.")
    value = int(text)
    if name == "limit" and not 0 <= value <= most:
        raise Rejected(400, f"{malformed}The value '{value}' is not in the range of 0 to {most} for {collection}.")
    if value < 0:
        raise Rejected(400, f"{malformed}The value '{value}' is not greater than or equal to 0 for {collection}.")
    return value or (most if name == "limit" else 0)


def checked_name(name: str) -> str:
    """Raises Rejected if that is not a name for an entity."""
    return _checked(name, "Name segement", BAD_NAME)  # sic: OpenWhisk's own spelling


def checked_path(text: str) -> str:
    """`action` or `package/action`, as it stands percent-encoded in a path. Raises Rejected if either is no name."""
    path = unquote(text).strip("/")
    for part in path.split("/"):
        checked_name(part)
    return path


def is_name(text: str) -> bool:
    return _NAME.match(text) is not None


def _checked(name: str, what: str, otherwise: str) -> str:
    if len(name) > LONGEST_NAME:
        raise Rejected(400, f"{what} longer than allowed: {len(name)} > {LONGEST_NAME}.")
    if not is_name(name):
        raise Rejected(400, otherwise)
    return name


def key_values(given: Any, what: str) -> KeyValues:
    """Parameters or annotations: a list of {"key", "value"}; the last of a repeated key counts. Raises Rejected."""
    if not isinstance(given, list) or not all(isinstance(item, dict) and isinstance(item.get("key"), str) for item in given):
        raise Rejected(400, f"{MALFORMED}{what} malformed!")
    kept: dict[str, dict[str, Any]] = {}
    for item in given:
        made = {"key": item["key"], "value": item.get("value")}
        if item.get("init"):
            made["init"] = True
        kept[item["key"]] = made
    size = sum(len(key.encode()) + len(msgspec.json.encode(made["value"])) for key, made in kept.items())
    if size > LIMITS.parameters:
        raise Rejected(413, f"{what} larger than allowed: {size} > {LIMITS.parameters} bytes.")
    return list(kept.values())


def value_of(pairs: KeyValues, key: str) -> Any:
    return next((pair.get("value") for pair in pairs if pair["key"] == key), None)


def truthy(value: Any) -> bool:
    """What counts as set in an annotation: everything but false, 0, "", null."""
    return bool(value)


def limits(given: Any, before: dict[str, int]) -> dict[str, int]:
    """The limits of an action: those before, with what is given. Raises Rejected."""
    known = {"timeout": LIMITS.timeout, "memory": LIMITS.memory, "logs": LIMITS.logs, "concurrency": LIMITS.concurrency}
    made = {name: before.get(name, default) for name, (_, default, _) in known.items()}
    if given is None:
        return made
    if not isinstance(given, dict):
        raise Rejected(400, f"{MALFORMED}limits malformed")
    for name, (least, _, most) in known.items():
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise Rejected(400, f"{MALFORMED}{name} limit malformed")
        shown, unit = (name, "milliseconds") if name == "timeout" else (name, "MB" if name in ("memory", "logs") else "")
        if not least <= value <= most:
            side, bound = ("below", least) if value < least else ("exceeds", most)
            raise Rejected(
                400,
                f"{MALFORMED}requirement failed: {shown} {value} {unit} {side} allowed threshold of {bound} {unit}".rstrip(),
            )
        made[name] = value
    return made


def version(given: Any, before: str) -> str:
    """The version that a PUT makes: the one given, else the next patch of the one before. Raises Rejected."""
    if given is not None:
        if not isinstance(given, str) or _VERSION.fullmatch(given) is None:
            raise Rejected(400, f"{MALFORMED}bad semantic version {given!r}")
        parts = [str(int(part)) for part in given.split(".")]
        return ".".join([*parts, "0", "0"][:3])
    if not before:
        return "0.0.1"
    major, minor, patch = before.split(".")
    return f"{major}.{minor}.{int(patch) + 1}"


def qualified(name: Any, user: User) -> tuple[str, str]:
    """(namespace, name with its package) of a fully qualified name, as rules and sequences have them. Raises Rejected."""
    parts = name.removeprefix("/").split("/") if isinstance(name, str) else []
    if not 2 <= len(parts) <= 3 or not all(_NAME.match(part) for part in parts):
        raise Rejected(
            400,
            f"{MALFORMED}requirement failed: {NOT_QUALIFIED}",
        )
    return user.namespace if parts[0] == "_" else parts[0], "/".join(parts[1:])


def resolve_namespace(text: str, user: User) -> str:
    """The namespace of a path. Raises Rejected."""
    name = unquote(text)
    if name == "_":
        return user.namespace
    return _checked(name, "Namespace", "The namespace contains illegal characters.")


# --- what there is ---------------------------------------------------------------------------------------------------------


class Action(Struct, frozen=True):
    """An action found by the name that its caller uses, which may lead through a binding."""

    namespace: str  # the provider's
    package: str  # the provider's; empty: the default package
    name: str
    body: dict[str, Any]
    updated: float  # seconds since the epoch
    inherited: dict[str, dict[str, Any]]  # parameters of the package, then of the binding, by key
    binding: str = ""  # NAMESPACE/BINDING, if it was found through one
    docs: tuple[Any, ...] = ()  # what it was made of: equal ones give an equal action

    def is_current(self, view: View) -> bool:
        """Whether it surely would be found again as it is. False, too, for what is no document."""
        return all(type(d) is Document and view.document(d.namespace, d.kind, d.name) is d for d in self.docs)

    @property
    def space(self) -> str:
        return space(self.namespace)

    @property
    def function(self) -> str:
        return f"{self.package}/{self.name}" if self.package else self.name

    @property
    def path(self) -> str:
        """As records name it."""
        return f"{self.binding or self.namespace + ('/' + self.package if self.package else '')}/{self.name}"

    @property
    def annotations(self) -> KeyValues:
        return self.body["annotations"]  # type: ignore[no-any-return]

    def is_set(self, annotation: str) -> bool:
        return truthy(value_of(self.annotations, annotation))


def by_key(pairs: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The last of a key counts."""
    return {pair["key"]: pair for pair in pairs}


def text(value: Any) -> str:
    """A parameter as a variable of the environment."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def parameters(pairs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Those that are given with each call; `init` ones are environment."""
    return {pair["key"]: pair["value"] for pair in pairs if not pair.get("init")}


def find_action(view: View, user: User | None, namespace: str, name: str) -> Action:
    """The action that `name` (`action` or `package/action`) means in a namespace.

    Raises errors.NotFound, or Rejected (403) where the caller may not use what is there. Without a user nobody is asked.
    """
    package, _, own = name.rpartition("/")
    binding = ""
    inherited: dict[str, dict[str, Any]] = {}
    docs: list[Any] = []
    shared = False
    if package:
        holder = view.document(space(namespace), PACKAGE, package)
        if holder is None:
            raise NotFound(name)
        docs.append(holder)
        shared = holder.body["publish"]
        inherited = by_key(holder.body["parameters"])
        bound = holder.body["binding"]
        if bound:
            binding = f"{namespace}/{package}"
            if user is not None and not user.may(namespace) and not shared:
                raise forbidden(f"{namespace}/{package}")
            namespace, package = bound["namespace"], bound["name"]
            provider = view.document(space(namespace), PACKAGE, package)
            if provider is None:  # of somebody else's namespace nobody learns what is not there
                raise NotFound(name) if user is None or user.may(namespace) else forbidden(f"{namespace}/{package}")
            docs.append(provider)
            shared = provider.body["publish"]
            inherited = by_key(provider.body["parameters"]) | inherited
    if user is not None and not shared and not user.may(namespace):
        raise forbidden(f"{namespace}/{name}")
    function = f"{package}/{own}" if package else own
    body, updated, doc = _body(view, space(namespace), function)
    return Action(namespace, package, own, body, updated, inherited, binding, (*docs, doc))


def _body(view: View, where: str, function: str) -> tuple[dict[str, Any], float, Any]:
    document = view.document(where, ACTION, function)
    if document is not None:
        return document.body, document.updated, document
    found = view.function(where, function)
    if found is None:
        raise NotFound(function)
    return foreign(view, where, function, found.latest), found.updated, found


def foreign(view: View, where: str, function: str, latest: int) -> dict[str, Any]:
    """How a function looks that was deployed in another way."""
    revision = view.revision(where, function)
    config = revision.config if revision is not None else None
    return {
        "version": f"0.0.{latest}",
        "publish": False,
        "annotations": [{"key": "provide-api-key", "value": False}],
        "parameters": [],
        "limits": limits(None, {"timeout": round(config.timeout_s * 1000), "memory": config.memory_mb} if config else {}),
        "exec": {"kind": kind_of_runtime(config.runtime) if config else "blackbox", "binary": True},
    }


def too_big(size: int) -> Rejected:
    """Of a payload of so many bytes."""
    return Rejected(413, f"Request larger than allowed: {size} > {LIMITS.payload} bytes.")


def forbidden(what: str) -> Rejected:
    return Rejected(403, f"The supplied authentication is not authorized to access '{what}'.")


def no_binding(view: View, namespace: str, name: str) -> None:
    """Refuse to change an action through a binding, or in a package that is not there. Raises Rejected or NotFound."""
    package = name.rpartition("/")[0]
    if package:
        holder = view.document(space(namespace), PACKAGE, package)
        if holder is None:
            raise NotFound(package)
        if holder.body["binding"]:
            raise Rejected(400, ON_BINDING)


def named(document: Document) -> str:
    """NAMESPACE/NAME"""
    return f"{namespace_of(document.namespace)}/{document.name}"


def base(document: Document, *, name: str = "", package: str = "") -> dict[str, Any]:
    """The fields that all entities have."""
    namespace = namespace_of(document.namespace)
    return {
        "namespace": f"{namespace}/{package}" if package else namespace,
        "name": name or document.name,
        "version": document.body["version"],
        "publish": document.body["publish"],
        "annotations": document.body["annotations"],
        "updated": round(document.updated * 1000),
    }
