"""From a configuration of Lambda's to a revision of the core, and the aliases that lead there.

$LATEST is where the core's own traffic goes. A published version is a revision that calls reach by number; an alias of the core keeps it
from being forgotten. An alias that splits its calls is an alias of the core.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ...actions import Code, DeleteAlias, Deployed, PutAlias, PutFunction
from ...errors import NotFound
from ...model.function import Config, Target
from .call import Call
from .profile import FREEZE, INIT, INIT_PROVISIONED, PROFILE
from .record import LATEST, Record
from .scope import new_uuid

_KEPT = "lambda_version_"  # and its number: the core's alias of a version
_UNKNOWING = ("RevisionId", "LastModified", "Version", "FunctionArn", "State", "LastUpdateStatus")  # of no matter to a version


async def publish(call: Call, record: Record, description: str) -> dict[str, Any]:
    """Make a version of $LATEST, unless nothing has changed since the last one. The caller saves."""
    latest, versions = record.latest, record.body["versions"]
    content = _content(latest)
    previous = versions.get(str(record.body["next"] - 1))
    if previous is not None and previous["_content"] == content:
        return dict(previous)
    number = str(record.body["next"])
    version = dict(latest) | {
        "Version": number,
        "FunctionArn": record.arn(number),
        "Description": description,
        "RevisionId": new_uuid(),
        "_content": content,
    }
    if version["SnapStart"]["ApplyOn"] == "PublishedVersions":
        version["SnapStart"] = {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    await deploy(call, record, version)
    versions[number] = version
    record.body["next"] += 1
    record.touch()
    return version


async def deploy(call: Call, record: Record, version: dict[str, Any]) -> None:
    """Give the core what a version says, and note which revision it is. A published version is kept alive by an alias of the core."""
    config = version["Environment"]["Variables"] if "Environment" in version else {}
    logging = version["LoggingConfig"]
    options = {
        "runtime": version["Runtime"],
        "version": version["Version"],
        "account": record.scope.account,
        "region": record.scope.region,
        "group": logging["LogGroup"],
    }
    if logging["LogFormat"] == "JSON":
        levels = {"level": logging.get("ApplicationLogLevel", "INFO"), "system": logging.get("SystemLogLevel", "INFO")}
        options |= {"format": "JSON", **levels}
    if version.get("_provisioned"):
        options["initialization"] = "provisioned-concurrency"
    deployed: Deployed = await call.do(
        PutFunction(
            namespace=record.scope.namespace,
            name=record.name,
            code=Code(package=version["_package"], layers=tuple(version["_layers"])),
            config=Config(
                runtime=_runtime(version["Runtime"]),
                handler=version["Handler"],
                contract="lambda",
                options=options,
                env=config,
                memory_mb=version["MemorySize"],
                timeout_s=float(version["Timeout"]),
                init_timeout_s=max(INIT_PROVISIONED, version["Timeout"]) if version.get("_provisioned") else INIT,
                freeze_s=FREEZE,
                tmp_mb=version["EphemeralStorage"]["Size"],
                pids=1024,
                min_instances=version.get("_provisioned", 0),
                max_instances=1000,
            ),
            profile=PROFILE.name,
            publish=version["Version"] == LATEST,
        )
    )
    version["_revision"] = deployed.revision.number
    if version["Version"] != LATEST:
        await keep(call, record, version)


async def keep(call: Call, record: Record, version: dict[str, Any]) -> None:
    """Let the core keep the revision of a version, and point the aliases there that lead to it."""
    number, space = version["Version"], record.scope.namespace
    targets = (Target(version["_revision"]),)
    await call.do(PutAlias(namespace=space, name=record.name, alias=_KEPT + number, traffic=targets))


async def let_go(call: Call, record: Record, number: str) -> None:
    try:
        await call.do(DeleteAlias(namespace=record.scope.namespace, name=record.name, alias=_KEPT + number))
    except NotFound:
        pass


async def point(call: Call, record: Record, alias: dict[str, Any]) -> None:
    """Tell the core where the alias leads. One to $LATEST alone follows it by itself."""
    weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    shares = {alias["FunctionVersion"]: 1.0 - sum(weights.values()), **weights}
    targets = tuple(Target(record.version(number)["_revision"], share) for number, share in shares.items() if share > 0)
    await call.do(PutAlias(namespace=record.scope.namespace, name=record.name, alias=alias["Name"], traffic=targets))


async def repoint(call: Call, record: Record, number: str) -> None:
    """A version has another revision now: tell the aliases that lead to it."""
    for alias in record.body["aliases"].values():
        if number in (alias["FunctionVersion"], *alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})):
            await point(call, record, alias)


def _runtime(name: str) -> str:
    """The core's runtime for one of Lambda's. What this platform has no runtime for can only bring a bootstrap of its own."""
    if name.startswith("nodejs"):
        return "nodejs"
    if name.startswith("python3."):
        return f"python3.{min(13, max(8, int(name[8:])))}"
    return "provided"


def _content(latest: dict[str, Any]) -> str:
    """What makes a version a new one."""
    told = {name: value for name, value in latest.items() if name not in _UNKNOWING and not name.startswith("_")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
