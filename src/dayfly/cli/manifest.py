"""wskdeploy's manifests as requests of OpenWhisk's API. Pure, but for the files it reads.

Format: docs/ in the project's wskdeploy repository. Packages, dependencies (bindings), actions, sequences, triggers, rules and APIs; values
may name environment variables as $NAME or ${NAME}.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..build.pack import pack

_ENDINGS = {".js": "nodejs:default", ".mjs": "nodejs:default", ".cjs": "nodejs:default", ".py": "python:default"}
_EMPTY: dict[str, Any] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "list": [],
    "array": [],
    "object": {},
    "json": {},
}
_LIMITS = {"timeout": "timeout", "memorySize": "memory", "logSize": "logs", "concurrentActivations": "concurrency"}


class Step(NamedTuple):
    """A request: `path` is below the namespace, or with `web` below /api/v1/web."""

    label: str
    method: str
    path: str
    body: dict[str, Any]
    web: bool = False


class BadManifest(click.ClickException):
    """The manifest cannot be used."""


def plan(manifest: Any, folder: Path, environ: Mapping[str, str]) -> list[Step]:
    """The requests that make what the manifest describes, in an order that works. Raises BadManifest."""
    manifest = _filled(manifest, environ)
    if not isinstance(manifest, dict):
        raise BadManifest("The manifest is not a mapping; it begins with `packages:` or `project:`.")
    project = manifest.get("project")
    inside: dict[str, Any] = project if isinstance(project, dict) else {}
    packages = dict(_map(manifest.get("packages"), "packages") | _map(inside.get("packages"), "packages"))
    single = manifest.get("package")
    if isinstance(single, dict) and isinstance(single.get("name"), str):
        packages[single["name"]] = single
    if not packages:
        raise BadManifest("The manifest has no packages.")
    steps: list[Step] = []
    for name, package in packages.items():
        steps += _package(name, _map(package, f"package {name}"), folder)
    order = ("packages", "actions", "triggers", "rules", "apimgmt")
    return sorted(steps, key=lambda step: order.index(step.path.split("/")[1]))


def _package(name: str, package: dict[str, Any], folder: Path) -> Iterator[Step]:
    prefix = "" if name == "default" else f"{name}/"
    if prefix:
        body = _described(package) | {"publish": bool(package.get("public", False))}
        yield Step(f"package {name}", "PUT", f"/packages/{name}", body)
    for binding, dependency in _map(package.get("dependencies"), f"dependencies of {name}").items():
        location = dependency.get("location", binding) if isinstance(dependency, dict) else dependency
        parts = str(location or binding).strip("/").split("/")
        if len(parts) != 2 or "://" in str(location):
            raise BadManifest(f"The dependency {binding} lies at {location!r}; only packages of this platform can be bound.")
        body = _described(dependency if isinstance(dependency, dict) else {})
        yield Step(
            f"binding {binding}", "PUT", f"/packages/{binding}", body | {"binding": {"namespace": parts[0], "name": parts[1]}}
        )
    for action, given in _map(package.get("actions"), f"actions of {name}").items():
        label = f"action {prefix}{action}"
        given = _map(given if isinstance(given, dict) else {"function": given}, label)
        limits = {_LIMITS[key]: value for key, value in _map(given.get("limits"), label).items() if key in _LIMITS}
        body = _described(given) | {"exec": _exec(label, given, folder), "limits": limits}
        yield Step(label, "PUT", f"/actions/{prefix}{action}", body)
    for sequence, given in _map(package.get("sequences"), f"sequences of {name}").items():
        given = _map(given, f"sequence {sequence}")
        named = given.get("actions", [])
        names = [part.strip() for part in named.split(",")] if isinstance(named, str) else list(named)
        components = [_full(part, prefix) for part in names]
        body = _described(given) | {"exec": {"kind": "sequence", "components": components}}
        yield Step(f"sequence {prefix}{sequence}", "PUT", f"/actions/{prefix}{sequence}", body)
    for trigger, given in _map(package.get("triggers"), f"triggers of {name}").items():
        given = _map(given, f"trigger {trigger}")
        body = _described(given)
        feed = given.get("feed") or given.get("source")
        if feed:
            body["annotations"].append({"key": "feed", "value": str(feed)})
        yield Step(f"trigger {trigger}", "PUT", f"/triggers/{trigger}", body)
    for rule, given in _map(package.get("rules"), f"rules of {name}").items():
        given = _map(given, f"rule {rule}")
        if not given.get("trigger") or not given.get("action"):
            raise BadManifest(f"The rule {rule} needs a trigger and an action.")
        body = {"trigger": _full(str(given["trigger"]), ""), "action": _full(str(given["action"]), prefix)}
        yield Step(f"rule {rule}", "PUT", f"/rules/{rule}", body)
    for api, bases in _map(package.get("apis"), f"apis of {name}").items():
        yield from _api(api, _map(bases, f"api {api}"), prefix)


def _api(name: str, bases: dict[str, Any], prefix: str) -> Iterator[Step]:
    for base, paths in bases.items():
        for path, actions in _map(paths, f"api {name}").items():
            for action, told in _map(actions, f"api {name}").items():
                method = told.get("method", "get") if isinstance(told, dict) else told
                kind = told.get("response", "http") if isinstance(told, dict) else "http"
                full = _full(action, prefix)
                namespace, _, rest = full[1:].partition("/")
                api = {
                    "namespace": "_",
                    "gatewayBasePath": _slashed(base),
                    "gatewayPath": _slashed(path),
                    "gatewayMethod": str(method).upper(),
                    "apiName": name,
                    "action": {"name": rest, "namespace": namespace, "backendUrl": f"x.{kind}"},
                }
                label = f"api {str(method).upper()} {_slashed(base)}{_slashed(path)}"
                yield Step(label, "POST", "/apimgmt/createApi", {"apidoc": api}, True)


def _exec(label: str, given: dict[str, Any], folder: Path) -> dict[str, Any]:
    kind, main = given.get("runtime"), given.get("main")
    made: dict[str, Any] = {"main": str(main)} if main else {}
    image = str(given.get("docker") or "") or ("openwhisk/dockerskeleton" if given.get("native") else "")
    if image:
        made |= {"kind": "blackbox", "image": image}
        if not given.get("function"):
            return made
        data = _read(label, folder / str(given["function"]))
        return made | {"code": data.decode() if data.startswith(b"#!") else base64.b64encode(data).decode()}
    if given.get("code") is not None:
        if not kind:
            raise BadManifest(f"The {label} has code but no runtime.")
        return made | {"kind": str(kind), "code": str(given["code"])}
    source = given.get("function") or given.get("location")
    if not source:
        raise BadManifest(f"The {label} has neither `function` nor `code`.")
    path = folder / str(source)
    data = _read(label, path)
    if path.is_dir():
        kind = kind or (
            "nodejs:default" if (path / "package.json").exists() or (path / "index.js").exists() else "python:default"
        )
    kind = kind or _ENDINGS.get(path.suffix)
    if not kind:
        raise BadManifest(f"The {label} needs a `runtime`: {path.name} does not tell it.")
    return made | {"kind": str(kind), "code": data.decode() if path.suffix in _ENDINGS else base64.b64encode(data).decode()}


def _read(label: str, path: Path) -> bytes:
    """A file, or a folder as a zip."""
    if path.is_dir():
        return pack(path)
    if not path.is_file():
        raise BadManifest(f"The {label} needs the file {path}, which is not there.")
    return path.read_bytes()


def _described(given: dict[str, Any]) -> dict[str, Any]:
    """Parameters and annotations."""
    inputs = _map(given.get("inputs") or given.get("parameters"), "inputs")
    annotations = dict(_map(given.get("annotations"), "annotations"))
    web = given.get("web", given.get("web-export"))
    if web is not None:
        raw = str(web).lower() == "raw"
        on = raw or str(web).lower() in ("true", "yes")
        annotations |= {"web-export": on, "raw-http": raw, "final": on}
    return {
        "parameters": [{"key": key, "value": _value(value)} for key, value in inputs.items()],
        "annotations": [{"key": key, "value": value} for key, value in annotations.items()],
    }


def _value(given: Any) -> Any:
    if isinstance(given, dict) and given.keys() & {"type", "value", "default"} and not given.keys() - {
        "type", "value", "default", "description", "required", "status",
    }:  # fmt: skip
        return given.get("value", given.get("default", _EMPTY.get(str(given.get("type")), "")))
    return _EMPTY[given] if isinstance(given, str) and given in _EMPTY else given


def _full(name: str, prefix: str) -> str:
    """/NAMESPACE/[PACKAGE/]NAME of an action or trigger as a manifest names it."""
    if name.startswith("/"):
        return name
    return f"/_/{name}" if "/" in name else f"/_/{prefix}{name}"


def _slashed(path: str) -> str:
    return path if str(path).startswith("/") else f"/{path}"


def _map(given: Any, what: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise BadManifest(f"{what.capitalize()} must be a mapping, not {type(given).__name__}.")
    return given


def _filled(value: Any, environ: Mapping[str, str]) -> Any:
    """With environment variables put in."""
    if isinstance(value, dict):
        return {_filled(key, environ): _filled(item, environ) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, environ) for item in value]
    if isinstance(value, str) and "$" in value and "\n" not in value:
        return re.sub(r"\$\{?([A-Za-z_]\w*)\}?", lambda found: environ.get(found[1], ""), value)
    return value


def environment() -> Mapping[str, str]:
    return os.environ
