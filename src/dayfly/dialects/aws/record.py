"""What Lambda knows of a function and the core has no noun for: one document a function, changed as a whole.

    latest, versions       FunctionConfiguration of $LATEST and of each published version, as answers have it. Members of ours begin
                           with `_`: _revision (the core's number), _package and _layers (digests), _content (what makes a version new)
    next                   number of the next version
    aliases, tags, reserved, policies, invoke_configs, urls, provisioned, signing, recursion, runtime_management

The core's function, its revisions and aliases are what is run; `_revision` ties the two together. A function that was deployed natively has
no document until somebody changes it here: then one is made up from what the core knows.
"""

from __future__ import annotations

import base64
import copy
from typing import Any

from ...actions import PutDocument
from ...errors import Conflict
from ...model.function import Config, Function, Revision
from ..hook import Do, View
from .faults import conflict, missing
from .scope import Scope, new_uuid, stamp

KIND = "lambda/function"
LATEST = "$LATEST"
RUNTIME_VERSION = "8eeff65f6809a3ce81507fe733fe09b835899b99481ba22fd75b5a7338290ec1"
_LISTED_WITHOUT = ("State", "StateReason", "StateReasonCode", "LastUpdateStatus", "RuntimeVersionConfig")


class Record:
    """A function's document, to be read or changed and saved."""

    def __init__(self, scope: Scope, name: str, body: dict[str, Any], version: int) -> None:
        self.scope = scope
        self.name = name
        self.body = body
        self._version = version

    async def save(self, do: Do) -> None:
        """Raises ResourceConflictException if somebody else has changed it meanwhile."""
        put = PutDocument(namespace=self.scope.namespace, kind=KIND, name=self.name, body=self.body, expect=self._version)
        try:
            self._version = (await do(put)).version
        except Conflict:
            raise conflict("The function could not be updated due to a concurrent update operation.") from None

    def arn(self, qualifier: str = "") -> str:
        return self.scope.function_arn(self.name, qualifier)

    @property
    def latest(self) -> dict[str, Any]:
        latest: dict[str, Any] = self.body["latest"]
        return latest

    def version(self, qualifier: str) -> dict[str, Any]:
        """The configuration that a qualifier leads to: $LATEST, a version, or what an alias points to. Raises AwsError."""
        alias = self.body["aliases"].get(qualifier)
        number = alias["FunctionVersion"] if alias is not None else qualifier
        if number in ("", LATEST):
            return self.latest
        found: dict[str, Any] | None = self.body["versions"].get(number)
        if found is None:
            raise missing(f"Function not found: {self.arn(qualifier)}")
        return found

    def holder(self, qualifier: str) -> dict[str, Any]:
        """What bears the `RevisionId` of a qualifier: an alias has its own. Raises AwsError."""
        alias: dict[str, Any] | None = self.body["aliases"].get(qualifier)
        return self.version(qualifier) if alias is None else alias

    def touch(self, qualifier: str = "") -> None:
        """Whoever read the revision id of the qualifier before is late now."""
        self.holder(qualifier)["RevisionId"] = new_uuid()

    def require(self, qualifier: str) -> None:
        """Raises ResourceNotFoundException for a version or alias that is not there."""
        if not self.exists(qualifier):
            what = "Function not found" if qualifier.isdigit() or "$" in qualifier else "Cannot find alias arn"
            raise missing(f"{what}: {self.arn(qualifier)}")

    def exists(self, qualifier: str) -> bool:
        return qualifier in ("", LATEST) or qualifier in self.body["versions"] or qualifier in self.body["aliases"]

    def configuration(self, qualifier: str = "") -> dict[str, Any]:
        """What GetFunctionConfiguration answers."""
        shown = dict(self.version(qualifier))
        shown["FunctionArn"] = self.arn(qualifier)
        return shown

    def executed(self, revision: int) -> str:
        """The version that a revision of the core is."""
        if self.latest["_revision"] != revision:
            for number, version in self.body["versions"].items():
                if version["_revision"] == revision:
                    return str(number)
        return LATEST

    def core_qualifier(self, qualifier: str) -> str:
        """The core's name for a qualifier. Raises AwsError."""
        if qualifier in self.body["aliases"]:
            return qualifier
        version = self.version(qualifier)
        return "" if version is self.latest else str(version["_revision"])


def listed(configuration: dict[str, Any], arn: str) -> dict[str, Any]:
    """A configuration as lists of functions and versions have it."""
    shown = {name: value for name, value in configuration.items() if name not in _LISTED_WITHOUT}
    shown["FunctionArn"] = arn
    return shown


def find(view: View, scope: Scope, name: str) -> Record | None:
    """The record of a function; None if there is no such function."""
    function = view.function(scope.namespace, name)
    if function is None:
        return None
    document = view.document(scope.namespace, KIND, name)
    revision = view.revision(scope.namespace, name)
    if document is None:
        return Record(scope, name, _made_up(scope, function, revision), 0)
    body = copy.deepcopy(document.body)
    if revision is not None and revision.number != body["latest"]["_revision"]:
        body["latest"] |= _native(revision) | {"LastModified": stamp(function.updated)}  # deployed natively since
    return Record(scope, name, body, document.version)


def fresh(latest: dict[str, Any]) -> dict[str, Any]:
    """The body of a function that was just made."""
    return {
        "latest": latest,
        "versions": {},
        "next": 1,
        "aliases": {},
        "tags": {},
        "policies": {},
        "invoke_configs": {},
        "urls": {},
        "provisioned": {},
    }


def _made_up(scope: Scope, function: Function, revision: Revision | None) -> dict[str, Any]:
    base = defaults(scope, function.name) | {
        "Role": f"arn:aws:iam::{scope.account}:role/dayfly",
        "RevisionId": f"{function.latest:08x}-0000-4000-8000-{int(function.updated * 1000):012x}"[:36],
        "LastModified": stamp(function.updated),
        "Description": "",
    }
    return fresh(base | (_native(revision) if revision is not None else {}))


def defaults(scope: Scope, name: str) -> dict[str, Any]:
    """What every configuration has."""
    return {
        "FunctionName": name,
        "FunctionArn": scope.function_arn(name),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "Version": LATEST,
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": new_uuid(),
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": {"RuntimeVersionArn": f"arn:aws:lambda:{scope.region}::runtime:{RUNTIME_VERSION}"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }


def _native(revision: Revision) -> dict[str, Any]:
    """What the core knows of a revision."""
    config: Config = revision.config
    runtime = {"nodejs": "nodejs20.x", "provided": "provided.al2023"}.get(config.runtime, config.runtime)
    return {
        "Runtime": config.options.get("runtime", runtime),
        "Handler": config.handler,
        "Timeout": max(1, round(config.timeout_s)),
        "MemorySize": config.memory_mb,
        "Environment": {"Variables": dict(config.env)},
        "CodeSize": revision.artifact.size,
        "CodeSha256": base64.b64encode(bytes.fromhex(revision.artifact.digest)).decode(),
        "_revision": revision.number,
        "_package": revision.artifact.digest,
        "_layers": [],
        "_content": revision.digest,
    }
