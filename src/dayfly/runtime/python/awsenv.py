"""The environment that AWS Lambda documents for functions, for every runtime (docs: "Defined runtime environment variables").

The credentials in it are good for nothing: there is nothing here that they could be for.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATH = "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"
_LIBRARIES = "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"


def environment(work: dict[str, Any], runtime_api: str = "169.254.100.1:9001") -> dict[str, str]:
    """All that the function finds, its own variables included."""
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
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
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
    if work.get("tmp"):  # without isolation /tmp is the machine's
        base["TMPDIR"] = str(work["tmp"])
    if options.get("format") == "JSON":
        base["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        base["AWS_LAMBDA_LOG_LEVEL"] = options.get("level") or "INFO"
    base.update(work.get("env") or {})
    return base
