"""A dialect whose clients sign: `x-key` names a key, `x-sign` is the hexadecimal HMAC-SHA256 of the body. It keeps notes.

POST /signed/{function}             call it                                    -> its answer, after the note of its name
PUT  /signed/notes/{function}       keep the body as the function's note; the function has to exist
"""

from __future__ import annotations

import hmac

from dayfly.actions import GetFunction, Invoke, PutDocument
from dayfly.api.calls import fault
from dayfly.dialects.hook import Credentials, Dialect, Do, Head, Params, Reply, Route, View
from dayfly.errors import Unauthenticated
from dayfly.model.call import Result
from dayfly.model.identity import Identity
from dayfly.model.profile import Profile


def signature(secret: str, body: bytes) -> str:
    return hmac.digest(secret.encode(), body, "sha256").hex()


def _authenticate(head: Head, body: bytes | None, credentials: Credentials) -> Identity | None:
    key = head.get(b"x-key")
    if not key:
        return None
    found = credentials.secret(key)
    if found is None or not hmac.compare_digest(signature(found[0].decode(), body or b""), head.get(b"x-sign")):
        raise Unauthenticated("The signature is wrong.")
    return found[1]


def signed(view: View) -> Dialect:
    def decode(head: Head, params: Params, body: bytes) -> Invoke:
        return Invoke(namespace="default", function=params["function"], body=body)

    def encode(_: Head, invoke: Invoke, result: Result) -> Reply:
        note = view.document("default", "signed/note", invoke.function)
        return Reply(200, [], (note.body["text"].encode() if note else b"-") + b":" + result.body)

    async def keep(head: Head, params: Params, body: bytes, do: Do) -> Reply:
        function = await do(GetFunction(name=params["function"]))
        document = await do(PutDocument(kind="signed/note", name=function.name, body={"text": body.decode()}))
        return Reply(201, [], f"{document.version} {head.identity.name if head.identity else None}".encode())

    return Dialect(
        name="signed",
        profile=Profile(name="signed"),
        routes=(
            Route(method="POST", path="/{function}", decode=decode, encode=encode, fast=True),
            Route(method="PUT", path="/notes/{function}", handle=keep),
        ),
        fault=fault,
        authenticate=_authenticate,
    )
