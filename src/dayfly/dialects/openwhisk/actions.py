"""Actions: PUT, GET, DELETE and lists. The calls are in `invoke`."""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import re
import zipfile
from typing import Any

import msgspec

from ... import actions as a
from ...errors import Conflict, Forbidden, NotFound
from ...model.delivery import Destination
from ...model.document import Document
from ...model.function import Config
from ..hook import Do, Head, Params, Reply, View
from . import entities as en
from .catalog import on_demand
from .faults import CONFLICT, EXISTS, MALFORMED, NONCONFORMING, Rejected, answer
from .profile import BLACKBOX, KINDS, LIMITS, PROFILE, SEQUENCE, kind_of
from .users import User, space, user

LEAST_INIT = 3.0  # seconds that code may load, however little time its calls have
RETRY = "async-retry"  # annotation: ours, not OpenWhisk's
ARCHIVE = "archive"  # member of an `exec` that nobody is shown: whether its code came as an archive
TOO_LONG = "Too many actions in the sequence."
CYCLE = "Sequence may not refer to itself."
NO_COMPONENT = "Sequence component does not exist."
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?\Z")
# OpenWhisk's Node images bring one package, its own client. Here it is installed for the actions that use it, once for all of them.
_USES_CLIENT = re.compile(r"""(?:require\s*\(|from)\s*(?:/\*.*?\*/\s*)?['"]openwhisk['"]""")
_WITH_CLIENT = '{"dependencies": {"openwhisk": "^3.21.8"}}'
_COLLECTIONS = (en.ACTION, en.PACKAGE, en.TRIGGER, en.RULE)


class Actions:
    def __init__(self, view: View) -> None:
        self._view = view

    async def put(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who, namespace, name = self._named(head, params)
        if not who.may(namespace):
            raise en.forbidden(f"{namespace}/{name}")
        overwrite = en.flag(en.query(head), "overwrite")
        en.no_binding(self._view, namespace, name)
        given = en.content(head, body)
        await on_demand(self._view, do, body.decode("utf-8", "replace"))
        before = self._view.document(space(namespace), en.ACTION, name)
        old = self._old(namespace, name, before)
        made, code = self._merged(who, given, old)
        if old is not None and not overwrite:
            raise Rejected(409, EXISTS)
        elsewhere(self._view, namespace, name, en.ACTION)
        if made["exec"]["kind"] == SEQUENCE and given.get("exec") is not None:
            self._check_sequence(who, f"{namespace}/{name}", made["exec"]["components"])
        await ensure(namespace, do)
        await self._deploy(head, namespace, name, made, code, do)
        document = await put_document(do, namespace, en.ACTION, name, made, before)
        await self._retries(namespace, name, made, old, do)
        return answer(head, await self._shown(who, document, do))

    async def _deploy(
        self, head: Head, namespace: str, name: str, made: dict[str, Any], code: a.Code | bytes | None, do: Do
    ) -> None:
        """Make the function of an action; without code, of what it has."""
        if code is None:
            known = self._view.revision(space(namespace), name)
            code = a.Code(package=known.artifact.digest) if known is not None else a.Code(files={"none": ""})
        elif isinstance(code, bytes):
            code = a.Code(package=(await do(a.PutPackage(namespace=space(namespace), data=code, filename="exec"))).digest)
        config = self._config(head, namespace, name, made)
        await do(
            a.PutFunction(namespace=space(namespace), name=name, code=code, config=config, profile=PROFILE.name, trial=False)
        )

    async def follow(self, head: Head, namespace: str, package: str, do: Do) -> None:
        """Hand on the parameters of a package to its actions."""
        for action in self._view.documents(space(namespace), en.ACTION, package + "/"):
            if action.body["exec"]["kind"] != SEQUENCE:
                await self._deploy(head, namespace, action.name, action.body, None, do)

    async def _retries(self, namespace: str, name: str, made: dict[str, Any], old: dict[str, Any] | None, do: Do) -> None:
        """What the annotation `async-retry` asks for: {"attempts", "maxAge" (seconds), "deadLetter": name of an action}."""
        wanted = en.value_of(made["annotations"], RETRY)
        if not wanted:
            if old is not None and en.value_of(old["annotations"], RETRY):
                with contextlib.suppress(NotFound):
                    await do(a.DeleteAsyncConfig(namespace=space(namespace), function=name))
            return
        letter = wanted.get("deadLetter") if isinstance(wanted, dict) else None
        if not isinstance(wanted, dict) or not isinstance(letter, str | None):
            raise Rejected(400, f"{MALFORMED}annotation {RETRY} is not an object of attempts, maxAge and deadLetter")
        await do(
            a.PutAsyncConfig(
                namespace=space(namespace),
                function=name,
                max_attempts=wanted.get("attempts"),
                max_age_s=wanted.get("maxAge"),
                dead_letter=Destination(kind="function", name=letter.strip("/").removeprefix("_/")) if letter else None,
            )
        )

    async def get(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who, namespace, name = self._named(head, params)
        await on_demand(self._view, do, namespace)
        if params["name"].endswith("/"):
            return self._in_package(head, who, namespace, name)
        with_code = en.flag(en.query(head), "code", True)
        elsewhere(self._view, namespace, name, en.ACTION)
        action = en.find_action(self._view, who, namespace, name)
        document = self._document(action)
        shown = await self._shown(who, document, do, code=with_code)
        if action.inherited:
            shown["parameters"] = list((action.inherited | en.by_key(action.body["parameters"])).values())
        return answer(head, shown)

    async def delete(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who, namespace, name = self._named(head, params)
        if not who.may(namespace):
            raise en.forbidden(f"{namespace}/{name}")
        if params["name"].endswith("/"):
            raise NotFound(name)
        en.no_binding(self._view, namespace, name)
        elsewhere(self._view, namespace, name, en.ACTION)
        action = en.find_action(self._view, who, namespace, name)
        shown = await self._shown(who, self._document(action), do)
        await remove(do, self._view, namespace, name)
        return answer(head, shown)

    async def listing(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who = user(head)
        namespace = en.resolve_namespace(params["ns"], who)
        if not who.may(namespace):
            raise en.forbidden(namespace)
        await on_demand(self._view, do, namespace)
        return self._page(head, namespace, self._all(namespace))

    def _in_package(self, head: Head, who: User, namespace: str, package: str) -> Reply:
        holder = self._view.document(space(namespace), en.PACKAGE, package)
        if holder is None:
            raise NotFound(package)
        if not who.may(namespace) and not holder.body["publish"]:
            raise en.forbidden(f"{namespace}/{package}")
        bound = holder.body["binding"]
        if bound:
            namespace, package = bound["namespace"], bound["name"]
        found = [document for document in self._all(namespace) if document.name.startswith(package + "/")]
        return self._page(head, namespace, found)

    def _all(self, namespace: str) -> list[Document]:
        """The actions of a namespace, functions that came in another way among them."""
        documents = self._view.documents(space(namespace), en.ACTION)
        known = {document.name for document in documents}
        strangers = [f for f in self._view.functions(space(namespace)) if f.name not in known]
        return documents + [_stranger(self._view, space(namespace), f.name, f.latest, f.updated) for f in strangers]

    def _page(self, head: Head, namespace: str, found: list[Document]) -> Reply:
        return page(head, "actions", found, _listed)

    def _named(self, head: Head, params: Params) -> tuple[User, str, str]:
        who = user(head)
        return who, en.resolve_namespace(params["ns"], who), en.checked_path(params["name"])

    def _document(self, action: en.Action) -> Document:
        document = action.docs[-1]
        if isinstance(document, Document):
            return document
        return _stranger(self._view, action.space, document.name, document.latest, document.updated)

    def _old(self, namespace: str, name: str, before: Document | None) -> dict[str, Any] | None:
        if before is not None:
            return before.body
        found = self._view.function(space(namespace), name)
        return en.foreign(self._view, space(namespace), name, found.latest) if found is not None else None

    # --- what a PUT makes ------------------------------------------------------------------------------------------------

    def _merged(
        self, who: User, given: dict[str, Any], old: dict[str, Any] | None
    ) -> tuple[dict[str, Any], a.Code | bytes | None]:
        """The action as it will be, and its new code: files, an archive, or None if it stays."""
        if given.get("exec") is None and old is None:
            raise Rejected(400, "exec undefined")
        code: a.Code | bytes | None = None
        if given.get("exec") is not None:
            exec_, code = self._exec(who, given["exec"])
        else:
            assert old is not None
            exec_ = old["exec"]
        dropped = given.get("delAnnotations") or []
        kept = [pair for pair in (old["annotations"] if old else []) if pair["key"] not in dropped]
        added = en.key_values(given.get("annotations") or [], "annotations")
        annotations = [pair for pair in en.by_key([*kept, *added]).values() if pair["key"] != "exec"]
        if old is None and not any(pair["key"] == "provide-api-key" for pair in annotations):
            annotations.append({"key": "provide-api-key", "value": False})
        annotations.append({"key": "exec", "value": exec_["kind"]})
        if exec_["kind"] == SEQUENCE:
            parameters = [{"key": "_actions", "value": exec_["components"]}]
        elif given.get("parameters") is not None:
            parameters = en.key_values(given["parameters"], "parameters")
        else:
            parameters = old["parameters"] if old and old["exec"]["kind"] != SEQUENCE else []
        made = {
            "version": en.version(given.get("version"), old["version"] if old else ""),
            "publish": bool(given.get("publish", old["publish"] if old else False)),
            "annotations": annotations,
            "parameters": parameters,
            "limits": en.limits(given.get("limits"), old["limits"] if old else {}),
            "exec": exec_,
        }
        return made, code

    def _exec(self, who: User, given: Any) -> tuple[dict[str, Any], a.Code | bytes | None]:
        if not isinstance(given, dict) or not isinstance(given.get("kind"), str):
            raise Rejected(400, f"{MALFORMED}'kind' must be a string defined in 'exec'")
        name = given["kind"].strip().lower()
        main = given.get("main")
        if main is not None and not isinstance(main, str):
            raise Rejected(400, f"{MALFORMED}if defined, 'main' be a string in 'exec' for '{name}' actions")
        if name == SEQUENCE:
            components = given.get("components")
            if not isinstance(components, list):
                what = "must be an array" if components is not None else "must be defined for sequence kind"
                raise Rejected(400, f"{MALFORMED}'components' {what}")
            full = [en.qualified(component, who) for component in components]
            return {"kind": SEQUENCE, "components": [f"/{ns}/{rest}" for ns, rest in full]}, a.Code(files={"sequence": name})
        code = given.get("code")
        if name == BLACKBOX:
            if not isinstance(given.get("image"), str):
                raise Rejected(400, f"{MALFORMED}'image' must be a string defined in 'exec' for 'blackbox' actions")
            made: dict[str, Any] = {"kind": name, "image": given["image"], "binary": False} | ({"main": main} if main else {})
            if not isinstance(code, str):
                code = ""
            return _binary(made, code) if is_binary(code) else (made, a.Code(files={"exec": code}))
        kind = kind_of(name)
        if kind is None:
            known = ", ".join((*KINDS, SEQUENCE, BLACKBOX))
            raise Rejected(400, f"{MALFORMED}kind '{name}' not in Set({known})")
        if not isinstance(code, str):
            raise Rejected(
                400, f"{MALFORMED}'code' must be a string or attachment object defined in 'exec' for '{kind.name}' actions"
            )
        if len(code) > LIMITS.code:
            raise Rejected(413, f"exec larger than allowed: {len(code)} > {LIMITS.code} bytes.")
        exec_: dict[str, Any] = {"kind": kind.name, "binary": False} | ({"main": main} if main else {})
        if is_binary(code):
            return _binary(exec_, code)
        if kind.program:
            raise Rejected(
                400, f"{MALFORMED}'code' of '{kind.name}' actions is the zip of an executable 'exec': nothing is compiled here"
            )
        if kind.family == "python":
            return exec_, a.Code(files={"__main__.py": code})
        manifest = {"package.json": _WITH_CLIENT} if _USES_CLIENT.search(code) else {}
        return exec_, a.Code(files={"index.js": code} | manifest)

    def _check_sequence(self, who: User, itself: str, components: list[str]) -> None:
        if len(components) > LIMITS.sequence:
            raise Rejected(400, TOO_LONG)
        if not components:
            raise Rejected(400, "No component specified for the sequence.")
        self._count(who, itself, components)

    def _count(self, who: User | None, itself: str, components: list[str]) -> int:
        """How many atomic actions that is. Raises Rejected if it is too many, a cycle, not there, or not for `who` (None: anybody)."""
        total = 0
        for component in components:
            if component == "/" + itself:
                raise Rejected(400, CYCLE)
            namespace, _, name = component.removeprefix("/").partition("/")
            try:
                action = en.find_action(self._view, who, namespace, name)
            except NotFound:
                raise Rejected(400, NO_COMPONENT) from None
            if f"{action.namespace}/{action.function}" == itself:
                raise Rejected(400, CYCLE)
            inner = action.body["exec"]
            total += self._count(None, itself, inner["components"]) if inner["kind"] == SEQUENCE else 1
            if total > LIMITS.sequence:
                raise Rejected(400, TOO_LONG)
        return total

    def _config(self, head: Head, namespace: str, name: str, made: dict[str, Any]) -> Config:
        """How the code is run."""
        exec_, limits = made["exec"], made["limits"]
        package = self._view.document(space(namespace), en.PACKAGE, name.rpartition("/")[0])
        parameters = en.by_key([*(package.body["parameters"] if package is not None else ()), *made["parameters"]]).values()
        shared: dict[str, Any] = {
            "memory_mb": limits["memory"],
            "timeout_s": limits["timeout"] / 1000,
            "env": {
                **{pair["key"]: en.text(pair["value"]) for pair in parameters if pair.get("init")},
                "__OW_NAMESPACE": namespace,
                "__OW_ACTION_NAME": f"/{namespace}/{name}",
                "__OW_ACTION_VERSION": made["version"],
                "__OW_API_HOST": f"{head.scheme}://{head.host}",
                "__OW_ALLOW_CONCURRENT": "true" if limits["concurrency"] > 1 else "false",
            },
        }
        if exec_["kind"] == SEQUENCE:
            steps = tuple(_step(component) for component in exec_["components"])
            return Config(runtime="sequence", handler="", contract="whisk", steps=steps, **shared)
        image = exec_["kind"] == BLACKBOX
        kind = kind_of("python:default" if image else exec_["kind"])
        assert kind is not None
        program = image or kind.program
        return Config(
            runtime=kind.runtime,
            handler=native(exec_.get("image", "actionloop")) if program else exec_.get("main") or "main",
            contract="actionloop" if program else "whisk",
            options={
                "parameters": msgspec.json.encode(en.parameters(parameters)).decode(),
                **({"image": exec_["image"]} if image else {}),
            },
            init_timeout_s=max(LEAST_INIT, limits["timeout"] / 1000),
            concurrency=limits["concurrency"],
            conductor=en.truthy(en.value_of(made["annotations"], "conductor")),
            **shared,
        )

    async def _shown(self, who: User, document: Document, do: Do, *, code: bool = True) -> dict[str, Any]:
        """What `who` may see: that is for the caller to know."""
        shown = _shown(document)
        exec_ = dict(document.body["exec"])
        archived = exec_.pop(ARCHIVE, True)
        if code and exec_["kind"] != SEQUENCE and self._view.function(document.namespace, document.name) is not None:
            files = await do(a.ReadPackage(namespace=document.namespace, name=document.name, owner=who.space))
            exec_["code"] = _code(files, exec_["binary"], archived)
            if exec_["kind"] == BLACKBOX and not exec_["code"]:
                del exec_["code"]
        return shown | {"exec": exec_}


def native(image: str) -> str:
    """How the program is run that comes with a blackbox action, where no image of its own is needed. Else the calls are refused."""
    if "dockerskeleton" in image:
        return "once"
    return "loop" if "actionloop" in image or "action-loop" in image else "refuse"


def _binary(exec_: dict[str, Any], code: str) -> tuple[dict[str, Any], bytes]:
    """`exec` of code in base64, and its bytes: an archive, or a program by itself."""
    try:
        data = base64.b64decode(code.strip(), validate=True)
    except binascii.Error as error:
        raise Rejected(400, f"{MALFORMED}{error}") from None
    return exec_ | {"binary": True, ARCHIVE: data.startswith((b"PK", b"\x1f\x8b"))}, data


def is_binary(code: str) -> bool:
    """Whether that is an archive in base64, as OpenWhisk guesses it."""
    text = code.strip()
    return bool(text) and len(text) % 4 == 0 and _BASE64.match(text) is not None


def _code(files: dict[str, bytes], binary: bool, archived: bool) -> str:
    source = next((data for path, data in files.items() if path != "package.json"), b"")
    if not binary:
        return source.decode("utf-8", "replace")
    if not archived:
        return base64.b64encode(source).decode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return base64.b64encode(buffer.getvalue()).decode()


def _step(component: str) -> str:
    namespace, _, name = component.removeprefix("/").partition("/")
    return f"{space(namespace)}/{name}"


def _shown(document: Document) -> dict[str, Any]:
    package, _, name = document.name.rpartition("/")
    body = document.body
    return en.base(document, name=name, package=package) | {"parameters": body["parameters"], "limits": body["limits"]}


def _listed(document: Document) -> dict[str, Any]:
    shown = _shown(document)
    del shown["parameters"]
    return shown | {"exec": {"binary": document.body["exec"].get("binary", False)}}


def _stranger(view: View, where: str, name: str, latest: int, updated: float) -> Document:
    """A function that was deployed in another way, as if OpenWhisk had it."""
    body = en.foreign(view, where, name, latest)
    return Document(namespace=where, kind=en.ACTION, name=name, version=latest, body=body, created=updated, updated=updated)


# --- shared by all collections -----------------------------------------------------------------------------------------------


def elsewhere(view: View, namespace: str, name: str, kind: str) -> None:
    """Names are unique over all collections of a namespace. Raises Rejected (409)."""
    if any(view.document(space(namespace), other, name) is not None for other in _COLLECTIONS if other != kind):
        raise Rejected(409, NONCONFORMING)


async def ensure(namespace: str, do: Do) -> None:
    """See that the caller's namespace is there. Who may not make one finds out when it is used."""
    with contextlib.suppress(Forbidden):
        await do(a.PutNamespace(namespace=space(namespace)))


async def put_document(do: Do, namespace: str, kind: str, name: str, body: dict[str, Any], before: Document | None) -> Document:
    """Write what was read and changed. Raises Rejected (409) if somebody was faster."""
    try:
        document: Document = await do(
            a.PutDocument(namespace=space(namespace), kind=kind, name=name, body=body, expect=before.version if before else 0)
        )
    except Conflict:
        raise Rejected(409, CONFLICT) from None
    return document


async def remove(do: Do, view: View, namespace: str, name: str) -> None:
    """Delete an action: what is said of it, and its code."""
    if view.document(space(namespace), en.ACTION, name) is not None:
        await do(a.DeleteDocument(namespace=space(namespace), kind=en.ACTION, name=name))
    if view.function(space(namespace), name) is not None:
        await do(a.DeleteFunction(namespace=space(namespace), name=name))


def page(head: Head, collection: str, found: list[Document], show: Any) -> Reply:
    """A list, newest first, or with `count` how long it is."""
    asked = en.query(head)
    limit, skip = en.number(asked, "limit", collection), en.number(asked, "skip", collection)
    if en.flag(asked, "count"):
        return answer(head, {collection: max(0, len(found) - skip)})
    ordered = sorted(found, key=lambda document: (-document.updated, document.name))
    return answer(head, [show(document) for document in ordered[skip : skip + limit]])
