"""The environment that AWS Lambda documents for functions, for every runtime (docs: "Defined runtime environment variables").

Where instances have a network, an endpoint and credentials for it come from the platform. Elsewhere the credentials are good for nothing.
"""

from __future__ import annotations

import math
import os
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

ACCOUNT = "000000000000"
PORT = 9001  # of the Runtime API, in a network of the instance's own

_PATH = "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"
_LIBRARIES = "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
_NODE_PATH = "/opt/nodejs/node%s/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"


def environment(work: dict[str, Any]) -> dict[str, str]:
    """All that the function finds, its own variables included."""
    port = PORT if os.getpid() == 1 else _free_port()
    options = work["options"]
    name, version = str(work["function"]), options.get("version", "$LATEST")
    day = time.strftime("%Y/%m/%d", time.gmtime())
    base = {
        "AWS_ACCESS_KEY_ID": "ASIA" + work["id"][:16].upper(),
        "AWS_SECRET_ACCESS_KEY": work["id"] + work["id"][:8],
        "AWS_SESSION_TOKEN": work["id"],
        "AWS_DEFAULT_REGION": options.get("region", "us-east-1"),
        "AWS_REGION": options.get("region", "us-east-1"),
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(work["memory_mb"]),
        "AWS_LAMBDA_INITIALIZATION_TYPE": options.get("initialization", "on-demand"),
        "AWS_LAMBDA_LOG_GROUP_NAME": options.get("group") or "/aws/lambda/" + name,
        "AWS_LAMBDA_LOG_STREAM_NAME": "%s/[%s]%s" % (day, version, work["id"]),
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:%d" % port,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1:2000",
        "_AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1",
        "_AWS_XRAY_DAEMON_PORT": "2000",
        "LAMBDA_TASK_ROOT": str(work["task_root"]),
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LANG": "en_US.UTF-8",
        "LD_LIBRARY_PATH": _LIBRARIES,
        "PATH": _PATH,
        "PWD": str(work["task_root"]),
        "SHLVL": "0",
        "TZ": ":UTC",
        "_HANDLER": str(work["handler"]),
    }
    if work["runtime"] != "provided":
        base["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + options.get("runtime", str(work["runtime"]))
    if work["runtime"] == "nodejs":
        base["NODE_PATH"] = _NODE_PATH % options.get("runtime", "nodejs20.x")[len("nodejs") :].partition(".")[0]
    elif work["runtime"] != "provided":
        base.update({"LC_CTYPE": "C.UTF-8", "PYTHONPATH": base["LAMBDA_RUNTIME_DIR"]})
    if work.get("tmp"):  # without isolation /tmp is the machine's
        base["TMPDIR"] = str(work["tmp"])
    if options.get("format") == "JSON":
        base["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        base["AWS_LAMBDA_LOG_LEVEL"] = options.get("level") or "INFO"
    base.update(work.get("platform") or {})
    base.update(work.get("env") or {})
    return base


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def about(work: dict[str, Any]) -> Dict[str, str]:
    """What an extension is told when it registers."""
    options = work["options"]
    return {
        "functionName": str(work["function"]),
        "functionVersion": options.get("version", "$LATEST"),
        "handler": str(work["handler"]),
        "accountId": options.get("account", ACCOUNT),
    }


def extensions(opt: str) -> List[Tuple[str, str]]:
    """Name and path of the external extensions in a folder of layers."""
    folder = opt + "/extensions"
    if not os.path.isdir(folder):
        return []
    return [(name, folder + "/" + name) for name in sorted(os.listdir(folder)) if os.path.isfile(folder + "/" + name)]


def init_start(work: dict[str, Any]) -> Dict[str, Any]:
    """The record of platform.initStart."""
    options = work["options"]
    return {
        "initializationType": options.get("initialization", "on-demand"),
        "phase": "init",
        "runtimeVersion": options.get("runtime", str(work["runtime"])),
        "functionName": str(work["function"]),
        "functionVersion": options.get("version", "$LATEST"),
        "instanceId": str(work["id"]),
        "instanceMaxMemory": int(work["memory_mb"]) << 20,
    }


def metrics(took: float, memory_mb: int, rss_kb: int) -> Dict[str, Any]:
    """What platform.report tells of a call that took so many milliseconds."""
    used = math.ceil(rss_kb / 1024)
    return {
        "durationMs": round(took, 3),
        "billedDurationMs": math.ceil(took),
        "memorySizeMB": memory_mb,
        "maxMemoryUsedMB": used,
    }


def request_id(invocation: str) -> str:
    """As Lambda writes the id of a call."""
    return "%s-%s-%s-%s-%s" % (invocation[:8], invocation[8:12], invocation[12:16], invocation[16:20], invocation[20:])


def trace(invocation: str, told: dict[str, Any]) -> str:
    """The trace header of a call: the caller's, or a new one."""
    made = "Root=1-%s-%s;Parent=%s;Sampled=0" % (invocation[:8], invocation[8:], invocation[8:24])
    return str(told.get("trace") or made)
