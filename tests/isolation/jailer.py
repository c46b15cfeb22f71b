"""Runs one piece of code in the jail, the way a zygote does. Not a test: `jail_run` starts it with any Python from 3.8 on.

    python -I jailer.py RUNTIME_FOLDER '{"template": {...}, "plan": {...}, "code": "...", "cgroups": [fd, ...]}'

With "neighbour", the code of a first instance, which writes a byte to descriptor `%d` when it is ready and then stays; it must
outlive the other one. Code sees `os`, `sys`, and `attempt(function, *arguments)`, which gives the name of the errno or the result.
Ends as the code ends.
"""

import errno
import importlib.util
import json
import os
import sys


def load(folder):
    """The runtime folder as a package under a name that is not its own, as zygotes have it."""
    path = os.path.join(folder, "__init__.py")
    spec = importlib.util.spec_from_file_location("jail_package", path, submodule_search_locations=[folder])
    sys.modules["jail_package"] = importlib.util.module_from_spec(spec)
    from jail_package import jail

    return jail


def attempt(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, error.errno)


def joining(fd):
    """A file to write 0 to: version 2 hands out the folder."""
    folder = os.path.isdir(f"/proc/self/fd/{fd}")
    return os.open("cgroup.procs", os.O_WRONLY, dir_fd=fd) if folder else fd


def start(jail, plan, cgroups, code):
    """A child in the jail that runs the code and ends; its number."""
    isolated = plan["isolation"] == "namespace"
    if isolated:
        jail.before_fork()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            jail.enter(plan, [joining(fd) for fd in cgroups])
            exec(compile(code, "hostile", "exec"), {"os": os, "sys": sys, "attempt": attempt, "__name__": "hostile"})
            sys.stdout.flush()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    if isolated:
        jail.after_fork()
    return pid


def main():
    jail, request = load(sys.argv[1]), json.loads(sys.argv[2])
    plan = request["plan"]
    if "no_user_namespaces" in request:  # as where a sysctl or AppArmor forbids them; here it would be for the whole machine
        jail.try_user_namespace = lambda rootless: os.stat("/nonexistent")
    jail.prepare(request["template"])
    neighbour = 0
    if "neighbour" in request:
        ready, done = os.pipe()
        neighbour = start(jail, dict(plan, uid=234000, keep_fds=[0, 1, 2, done]), (), request["neighbour"] % done)
        os.close(done)
        assert os.read(ready, 1), "the neighbour did not say that it is ready"
    pid = start(jail, plan, request.get("cgroups", ()), request["code"])
    status = os.waitpid(pid, 0)[1]
    if neighbour:
        assert os.waitpid(neighbour, os.WNOHANG) == (0, 0), "the neighbour is gone"
        os.kill(neighbour, 9)
        os.waitpid(neighbour, 0)
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


main()
