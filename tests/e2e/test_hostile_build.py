"""A build script of a stranger has the host's network, and still cannot reach the server that runs it."""

from __future__ import annotations

import os

import pytest

from dayfly.runtime.python import landlock
from tests.support.site import Site

pytestmark = pytest.mark.anyio

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


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are tested as root only")
@pytest.mark.skipif(landlock.abi() < landlock.ABI_PORTS, reason="this kernel cannot restrict TCP by port (Linux 6.7)")
async def test_a_build_script_cannot_call_the_control_api(site: Site) -> None:
    files = {
        "handler.py": HANDLER,
        "requirements.txt": "./probe\n",
        "probe/pyproject.toml": PROJECT,
        "probe/backend.py": BACKEND % site.server.port,
    }
    await site.deploy("hostile-build", files)
    answer = await site.call("hostile-build")
    assert "Permission denied" in answer.text
