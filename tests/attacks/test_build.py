"""Build scripts of strangers have the host's network, and still reach the package index only, not the server that runs them."""

from __future__ import annotations

import http.server
import os
import socket
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dayfly.build.builder import Builder
from dayfly.build.machine import Machine
from dayfly.build.packages import PackageStore
from dayfly.errors import BuildFailed
from dayfly.model.function import Config
from dayfly.runtime.python import landlock
from dayfly.sandbox.node.client import NodeSandbox
from dayfly.sandbox.node.interpreters import find
from tests.e2e.test_build_dependencies import wheel
from tests.support.sandboxes import PYTHON
from tests.support.site import running

pytestmark = pytest.mark.anyio

needs_landlock = pytest.mark.skipif(
    os.geteuid() != 0 or landlock.abi() < landlock.ABI_PORTS,
    reason="namespaces are tested as root only, and this kernel has to restrict TCP by port (Landlock of Linux 6.7)",
)

PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """
import os, urllib.request
from zipfile import ZipFile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    try:
        said = urllib.request.urlopen("http://127.0.0.1:%d/v1/namespaces").read().decode()
    except OSError as error:
        said = str(error)
    name, info = "probe-1.0-py3-none-any.whl", "probe-1.0.dist-info"
    with ZipFile(os.path.join(directory, name), "w") as archive:
        archive.writestr("probe.py", "SAID = " + repr(said))
        archive.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: probe\\nVersion: 1.0\\n")
        archive.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "/RECORD", "probe.py,,\\n")
    return name
"""
HANDLER = "import probe\n\ndef handler(event, context):\n    return probe.SAID\n"


@needs_landlock
async def test_a_build_script_cannot_call_the_control_api(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        named = free.getsockname()[1]
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"http://127.0.0.1:{named}/simple")  # by mistake, or to get around the rule
    async with running(tmp_path_factory.mktemp("d"), listeners={"other": named}) as site:
        for number, port in enumerate((site.server.port, named)):
            files = {
                "handler.py": HANDLER,
                "requirements.txt": "./probe\n",
                "probe/pyproject.toml": PROJECT,
                "probe/backend.py": BACKEND % port,
            }
            await site.deploy(f"hostile-{number}", files)
            assert "Permission denied" in (await site.call(f"hostile-{number}")).text


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[NodeSandbox]:
    (tmp_path / "packages").mkdir()
    with tempfile.TemporaryDirectory() as data:  # short: the agent's sockets are in it
        sandbox = NodeSandbox(Path(data), isolation="namespace", packages=tmp_path / "packages")
        await sandbox.open()
        yield sandbox
        await sandbox.close()


class Index(http.server.BaseHTTPRequestHandler):
    """A package index with one package."""

    wheel = ("demo-1.0-py3-none-any.whl", b"")

    def do_GET(self) -> None:
        name, data = self.wheel
        body = data if self.path.endswith(".whl") else f'<a href="/{name}">{name}</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream" if self.path.endswith(".whl") else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@needs_landlock
@pytest.mark.parametrize("closed", [False, True])
async def test_an_index_on_loopback_is_reached_where_the_machine_names_it(
    place: NodeSandbox, tmp_path: Path, closed: bool
) -> None:
    store = PackageStore(tmp_path / "packages")
    store.open()
    handler = type("Demo", (Index,), {"wheel": wheel("1.0", 1)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as index:
        threading.Thread(target=index.serve_forever, daemon=True).start()
        try:
            environ = {"PIP_INDEX_URL": f"http://127.0.0.1:{index.server_port}/simple", "PIP_RETRIES": "1"}
            machine = Machine(environ, tmp_path, tmp_path, closed=lambda: {index.server_port} if closed else ())
            builder = Builder(store, place, find(), machine=machine)
            package = await store.put_texts({"handler.py": "def handler(event, context): ...\n", "requirements.txt": "demo\n"})
            building = builder.build(package.digest, Config(runtime=PYTHON))
            if closed:
                with pytest.raises(BuildFailed) as refusal:
                    await building
                assert "TCP ports 53, 80, 443 only" in refusal.value.hint
            else:
                _, dependencies = (await building).mounts
                assert (store.root / dependencies.source / "demo.py").exists()
        finally:
            index.shutdown()
