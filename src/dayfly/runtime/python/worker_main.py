"""Runs the Python runtime without a zygote: `python -I -S -B worker_main.py`.

The work is JSON in the environment variable DAYFLY_WORK; the listening socket is file descriptor 3 (or DAYFLY_LISTEN_FD).
"""

import json
import os
import sys


def start() -> None:
    """Make this folder the private package `dayfly_runtime` and hand over."""
    package = type(sys)("dayfly_runtime")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules["dayfly_runtime"] = package
    work = json.loads(os.environ["DAYFLY_WORK"])
    listen_fd = int(os.environ.get("DAYFLY_LISTEN_FD", "3"))
    if work["runtime"] == "provided":
        from dayfly_runtime.bridge import main  # type: ignore[import-not-found]
    else:
        from dayfly_runtime.worker import main  # type: ignore[import-not-found]
    main(work, listen_fd)


if __name__ == "__main__":
    start()
