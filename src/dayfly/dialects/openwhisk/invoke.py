"""Calls of actions, on the fast lane: parameters merged, the record of the activation as the answer.

A call with nothing to merge costs two look-ups in memory. Parameters come in the order package, binding, action, call: the last wins.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from ... import errors as e
from ...actions import Invoke
from ...model.call import Mode, Result
from ...model.function import Revision
from ...model.ids import id_time, new_id
from ..hook import Head, Params, Reply, View
from . import entities as en
from . import outcome as oc
from .activations import activation, spans, template
from .faults import MALFORMED, NOT_ALLOWED, NOT_JSON, Rejected, answer, fault, given_transaction, of_call
from .profile import KNOWN_KEYS, LIMITS
from .users import User, namespace_of, user

REMEMBERED = 4096  # actions whose merged parameters are kept
TEMPLATES = 64  # of the records of one action: by account, path, revision, warm or cold
_JSON = msgspec.json.Decoder()
_EMPTY = (b"", b"{}")
_SYNC: Final = Mode.SYNC  # see pool.group


class Bound(msgspec.Struct):
    """An action with its parameters merged."""

    action: en.Action
    parameters: dict[str, Any]
    encoded: bytes
    final: frozenset[str]  # nobody may give these
    wants_key: bool
    init: dict[str, str] = {}  # parameters that are environment
    components: tuple[str, ...] = ()  # of a sequence
    templates: dict[tuple[str, str, int, bool], bytes] = {}  # see `activations.template`


class Asked(msgspec.Struct):
    """What the head of a request alone decides."""

    bound: Bound
    invoke: Invoke  # without body and id
    result: bool  # only that is wanted
    transaction: str  # the client's own; empty: it gets one a request
    takes_json: bool


class Calls:
    """Also completes the calls that the core makes by itself, e.g. the steps of a sequence (`address`)."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._bound: dict[tuple[str, str], Bound] = {}

    # --- from the wire ---------------------------------------------------------------------------------------------------

    def decode(self, head: Head, params: Params, body: bytes) -> Invoke:
        asked = head.kept
        if asked is None or not asked.bound.action.is_current(self._view):
            if len(body) > LIMITS.payload:  # whatever it is for
                raise en.too_big(len(body))
            asked = head.kept = self._asked(head, params)
        for component in asked.bound.components:  # what others shared they may have withdrawn since
            with contextlib.suppress(e.NotFound):  # which the sequence itself says when it comes to it
                namespace, _, name = component.removeprefix("/").partition("/")
                en.find_action(self._view, user(head), namespace, name)
        if body and not asked.takes_json:
            raise Rejected(415, NOT_JSON)
        invoke: Invoke = asked.invoke.__copy__()
        invoke.body = self.payload(asked.bound, body)
        invoke.invocation = new_id()
        if asked.bound.init:
            _initial(asked.bound, invoke)
        return invoke

    def _asked(self, head: Head, params: Params) -> Asked:
        who = user(head)
        namespace = en.resolve_namespace(params["ns"], who)
        bound = self.find(who, namespace, en.checked_path(params["name"]))
        asked = en.query(head)
        blocking = en.flag(asked, "blocking")
        invoke = self.invoke(bound, who, b"", mode=Mode.SYNC if blocking else Mode.ASYNC, wait_ms=_wait(asked))
        return Asked(bound, invoke, en.flag(asked, "result"), given_transaction(head), en.takes_json(head))

    def find(self, who: User | None, namespace: str, name: str) -> Bound:
        """The action that somebody calls so. Raises errors.NotFound or Rejected."""
        action = en.find_action(self._view, who, namespace, name)
        key = (namespace, name)
        known = self._bound.get(key)
        if known is not None and all(a is b for a, b in zip(known.action.docs, action.docs, strict=False)):
            return known
        own = () if action.body["exec"]["kind"] == "sequence" else action.body["parameters"]
        pairs = action.inherited | en.by_key(own)
        parameters = en.parameters(pairs.values())
        init = {key: en.text(pair["value"]) for key, pair in pairs.items() if pair.get("init")}
        final = frozenset(k for k, v in parameters.items() if v is not None) if action.is_set("final") else frozenset()
        wants = en.value_of(action.annotations, "provide-api-key")
        bound = Bound(
            action,
            parameters,
            msgspec.json.encode(parameters),
            final,
            en.truthy(wants) or not any(pair["key"] == "provide-api-key" for pair in action.annotations),
            init,
            components=tuple(action.body["exec"].get("components", ())),
        )
        if len(self._bound) >= REMEMBERED:
            self._bound.clear()
        self._bound[key] = bound
        return bound

    def payload(self, bound: Bound, body: bytes, *, inside: bool = False) -> bytes:
        """The arguments of a call, merged. Raises Rejected. `inside`: of the platform's own, which final parameters do not stop."""
        if len(body) > LIMITS.payload:
            raise en.too_big(len(body))
        if body in _EMPTY:
            return bound.encoded
        if not bound.parameters and body[:1] == b"{":
            return body  # the core checks that it is JSON
        try:
            given = _JSON.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Rejected(400, f"{MALFORMED}{error}") from None
        if isinstance(given, list):
            return body
        if not isinstance(given, dict):
            raise Rejected(400, f"{MALFORMED}Object expected")
        if bound.final and not inside and not bound.final.isdisjoint(given):
            raise Rejected(400, NOT_ALLOWED)
        return msgspec.json.encode(bound.parameters | given)

    def invoke(self, bound: Bound, who: User | None, body: bytes, *, mode: Mode, wait_ms: int = LIMITS.wait) -> Invoke:
        """The call itself. Without a user it runs on the account of the action's namespace."""
        action = bound.action
        owner = who.space if who is not None else action.space
        client: dict[str, str] = {}
        if bound.wants_key:  # the instance has one, its own; or takes that which everybody knows. Those of callers never travel
            client["api_key"] = KNOWN_KEYS.get(namespace_of(owner), "")
        if owner != action.space and who is not None:
            client["namespace"] = who.namespace
        timeout = action.body["limits"]["timeout"]
        note: dict[str, object] = {}
        if action.binding:
            note = {"path": action.path, "bound": True}
        if owner != action.space:
            note |= {"path": action.path, "space": action.space}
        made = Invoke(
            namespace=action.space,
            function=action.function,
            owner=owner if owner != action.space else "",
            note=msgspec.json.encode(note).decode() if note else "",
            body=body,
            mode=mode,
            invocation=new_id(),
            client=msgspec.json.encode(client).decode() if client else "",
            wait_s=wait_ms / 1000 if wait_ms < timeout else 0.0,
        )
        if bound.init and body:
            _initial(bound, made)
        return made

    def address(self, invoke: Invoke) -> None:
        """Complete a call that names an action as OpenWhisk does, in place: through bindings, with parameters.

        `invoke.owner` is on whose account. Raises errors.NotFound, or Rejected where the owner may not use it.
        """
        who = User(namespace_of(invoke.owner or invoke.namespace))
        namespace, name = _placed(namespace_of(invoke.namespace), invoke.function, who)
        bound = self.find(who, namespace, name)
        made = self.invoke(bound, who, self.payload(bound, invoke.body, inside=True), mode=invoke.mode)
        for field in ("namespace", "function", "owner", "note", "body", "client"):
            setattr(invoke, field, getattr(made, field))

    def outcome(self, invoke: Invoke, came: Result | e.DayflyError) -> tuple[bool, bytes]:
        """See hook.Parts."""
        if isinstance(came, e.DayflyError):
            revision = self._view.revision(invoke.namespace, invoke.function)
            outcome = oc.of_failure(came, round(revision.config.timeout_s * 1000) if revision is not None else 0)
        else:
            outcome = oc.of_error(came.error) if came.error is not None else oc.of_answer(came.body, LIMITS.result)
        return outcome.code in (oc.SUCCESS, oc.APPLICATION), outcome.result

    # --- to the wire -----------------------------------------------------------------------------------------------------

    def encode(self, head: Head, invoke: Invoke, result: Result) -> Reply:
        if invoke.mode is not _SYNC or result.status == 202:
            headers = [("x-openwhisk-activation-id", result.invocation)]
            return answer(head, {"activationId": result.invocation}, 202, headers)
        if result.error is not None:
            outcome = oc.of_error(result.error)
        else:
            outcome = oc.of_answer(result.body, LIMITS.result)
        asked = head.kept
        if asked is None or asked.invoke.namespace != invoke.namespace or result.note:  # another caller's, or a composition's
            return self._answer(head, invoke, outcome, result, [("x-openwhisk-activation-id", result.invocation)])
        body = outcome.result
        if not asked.result and body[:1] != b"[":
            body = self._record(asked.bound, invoke, outcome, result)
        status = 200 if outcome.code == oc.SUCCESS else 500 if outcome.code == oc.INTERNAL else 502
        return of_call(status, body, asked.transaction or new_id(), result.invocation)

    def _record(self, bound: Bound, invoke: Invoke, outcome: oc.Outcome, result: Result) -> bytes:
        """The same as in `_answer`, for a call that nothing is noted of."""
        cold, identifier = result.cold, result.invocation
        key = (invoke.owner, invoke.note, result.revision, cold)
        form = bound.templates.get(key)
        if form is None:
            revision = self._view.revision(invoke.namespace, invoke.function, str(result.revision or ""))
            form = template(
                namespace=namespace_of(invoke.owner or invoke.namespace),
                path=_path(invoke),
                body=bound.action.body,
                version=_version(revision),
                cold=cold,
                bound=bool(bound.action.binding),
            )
            if len(bound.templates) >= TEMPLATES:
                bound.templates.clear()
            bound.templates[key] = form
        wait, init, run, started = spans(result.timings, cold, id_time(identifier))
        times = (wait, init, run, started + run, started) if cold else (wait, run, started + run, started)
        return form % (identifier.encode(), *times, oc.OPENINGS[outcome.code], outcome.result)

    def fault(self, head: Head, error: e.DayflyError) -> Reply:
        """Failures of a blocking call are the activation's outcome; everything else is an error of the API."""
        path = head.path.removeprefix("/api/v1").split("/")
        ended = isinstance(error, e.InitFailed | e.InstanceDied | e.BadResponse | e.TimedOut | e.Cancelled)
        if not (ended and error.invocation and head.method == "POST" and len(path) > 4 and path[3] == "actions"):
            return fault(head, error)
        try:
            who = user(head)
            bound = self.find(who, en.resolve_namespace(path[2], who), unquote("/".join(path[4:])))
        except e.DayflyError:  # the action is gone meanwhile
            return fault(head, error)
        invoke = self.invoke(bound, who, b"", mode=Mode.SYNC)
        outcome = oc.of_failure(error, bound.action.body["limits"]["timeout"])
        headers = [("x-openwhisk-activation-id", error.invocation)]
        return self._answer(head, invoke, outcome, Result(invocation=error.invocation), headers)

    def _answer(
        self,
        head: Head,
        invoke: Invoke,
        outcome: oc.Outcome,
        result: Result,
        headers: list[tuple[str, str]],
    ) -> Reply:
        status = 200 if outcome.ok else 500 if outcome.code == oc.INTERNAL else 502
        if (head.query and en.flag(en.query(head), "result")) or outcome.result[:1] == b"[":
            return answer(head, outcome.result, status, headers)
        who = namespace_of(invoke.owner or invoke.namespace)
        revision = self._view.revision(invoke.namespace, invoke.function)
        document = self._view.document(invoke.namespace, en.ACTION, invoke.function)
        body = activation(
            result.invocation,
            namespace=who,
            path=_path(invoke),
            body=document.body if document is not None else en.foreign(self._view, invoke.namespace, invoke.function, 1),
            version=_version(revision),
            start=id_time(result.invocation),
            timings=result.timings,
            cold=result.cold,
            note=(msgspec.json.decode(invoke.note) if invoke.note else {})
            | (msgspec.json.decode(result.note) if result.note else {}),
        )
        body["response"] = outcome.response()
        body.setdefault("logs", [])
        return answer(head, body, status, headers)


def _initial(bound: Bound, invoke: Invoke) -> None:
    """Take out of the arguments what is environment, and hand that over beside them: what the call gives, else what a binding has."""
    args = _JSON.decode(invoke.body)
    env = dict(bound.init) if bound.action.binding else {}
    if isinstance(args, dict) and not bound.init.keys().isdisjoint(args):
        env |= {key: en.text(args.pop(key)) for key in bound.init if key in args}
        invoke.body = msgspec.json.encode(args)
    if env:
        client = _JSON.decode(invoke.client) if invoke.client else {}
        invoke.client = msgspec.json.encode(client | {"init": env}).decode()


def _placed(namespace: str, name: str, who: User) -> tuple[str, str]:
    """Namespace and name of an action as a composition names it: in full, or relative to the caller's namespace."""
    parts = name.strip("/").split("/")
    if name.startswith("/") or len(parts) == 3:
        return (who.namespace if parts[0] == "_" else parts[0]), "/".join(parts[1:])
    return namespace, name


def _version(revision: Revision | None) -> str:
    return revision.config.env.get("__OW_ACTION_VERSION", "0.0.1") if revision is not None else "0.0.1"


def _path(invoke: Invoke) -> str:
    if invoke.note:
        path = msgspec.json.decode(invoke.note).get("path")
        if path:
            return str(path)
    return f"{namespace_of(invoke.namespace)}/{invoke.function}"


def _wait(asked: dict[str, str]) -> int:
    text = asked.get("timeout", "")
    if not text:
        return LIMITS.wait
    if not text.isdecimal() or not 0 < int(text[:12]) <= LIMITS.wait:
        raise Rejected(
            400, f"The query parameter 'timeout' was malformed:\nTimeout must be number of milliseconds up to {LIMITS.wait}."
        )
    return int(text)
