"""What the server says of itself, and who the caller is."""

from __future__ import annotations

from ... import __version__
from ...errors import NotFound
from ...model.function import MiB
from ..hook import Do, Head, Params, Reply
from . import entities as en
from .faults import Rejected, answer
from .profile import KINDS, LIMITS
from .users import user

_API = {
    "description": "OpenWhisk API",
    "api_version": "1.0.0",
    "api_version_path": "v1",
    "build": __version__,
    "buildno": "dayfly",
    "swagger_paths": {"ui": "/docs", "api-docs": "/api-docs"},
}


class Info:
    async def home(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        """What wskdeploy reads: limits (milliseconds and bytes) and runtimes."""
        limits: dict[str, int] = {
            "actions_per_minute": LIMITS.invocations_per_minute,
            "triggers_per_minute": LIMITS.fires_per_minute,
            "concurrent_actions": LIMITS.concurrent,
            "sequence_length": LIMITS.sequence,
        }
        for name, (least, default, most), unit in (
            ("duration", LIMITS.timeout, 1),
            ("memory", LIMITS.memory, MiB),
            ("logs", LIMITS.logs, MiB),
        ):
            limits[f"default_min_action_{name}"] = limits[f"min_action_{name}"] = least * unit
            limits[f"default_max_action_{name}"] = limits[f"max_action_{name}"] = most * unit
            limits[f"default_action_{name}"] = default * unit
        families: dict[str, list[dict[str, object]]] = {}
        for kind in KINDS.values():
            families.setdefault(kind.family, []).append(
                {
                    "kind": kind.name,
                    "image": "dayfly",
                    "default": kind.default,
                    "deprecated": False,
                    "attached": True,
                    "requireMain": False,
                }
            )
        support = {"github": "https://github.com/apache/openwhisk/issues", "slack": "http://slack.openwhisk.org"}
        return answer(
            head,
            {
                "description": "OpenWhisk",
                "support": support,
                "api_paths": ["/api/v1"],
                "limits": limits,
                "runtimes": families,
            },
        )

    async def version(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        return answer(head, _API)

    async def no_limit(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        raise Rejected(400, "The request contains bad syntax or cannot be fulfilled.")

    async def missing(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        if head.method == "OPTIONS":
            return await self.options(head, params, body, do)
        raise NotFound(head.path)

    async def ping(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        return Reply(200, [("content-type", "text/plain; charset=UTF-8")], b"pong")

    async def options(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        return answer(head, b"")

    async def namespaces(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        return answer(head, [user(head).namespace])

    async def limits(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who = user(head)
        namespace = en.resolve_namespace(params["ns"], who)
        if not who.may(namespace):
            raise Rejected(403, f"The supplied authentication is not authorized to access '{namespace}'.")
        return answer(
            head,
            {
                "invocationsPerMinute": LIMITS.invocations_per_minute,
                "concurrentInvocations": LIMITS.concurrent,
                "firesPerMinute": LIMITS.fires_per_minute,
                "minActionMemory": LIMITS.memory[0],
                "maxActionMemory": LIMITS.memory[2],
                "minActionLogs": LIMITS.logs[0],
                "maxActionLogs": LIMITS.logs[2],
                "minActionTimeout": LIMITS.timeout[0],
                "maxActionTimeout": LIMITS.timeout[2],
                "minActionConcurrency": LIMITS.concurrency[0],
                "maxActionConcurrency": LIMITS.concurrency[2],
                "maxParameterSize": f"{LIMITS.parameters // MiB} MB",
            },
        )
