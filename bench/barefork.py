"""A bare fork into the namespaces and the root of an instance, and nothing else: what a cold start costs at least.

Run as `python -I -S -B barefork.py RUNTIME-FOLDER`, like a zygote. Each line on stdin is one start; the answer is its time in seconds,
from before the fork until a byte from inside the jail is here.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import Any

folder = sys.argv[1]
package: Any = type(sys)("_dayfly")
package.__path__ = [folder]
sys.modules["_dayfly"] = package
jail = importlib.import_module("_dayfly.jail")

jail.prepare({"isolation": "namespace", "binds": [[os.path.dirname(folder), "/run/dayfly"]], "sources": []})
for _ in sys.stdin:
    ours, theirs = os.pipe()
    plan = {"isolation": "namespace", "uid": jail.FIRST_UID, "keep_fds": [theirs]}
    began = time.perf_counter()
    jail.before_fork()
    pid = os.fork()
    if pid == 0:
        jail.enter(plan)
        os.write(theirs, b"1")
        os._exit(0)
    jail.after_fork()
    os.close(theirs)
    arrived = os.read(ours, 1)
    took = time.perf_counter() - began
    os.close(ours)
    os.waitpid(pid, 0)
    if arrived != b"1":
        sys.exit("the child did not get in")
    print(took, flush=True)
