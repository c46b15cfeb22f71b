"""A server in a thread of its own, with the Lambda dialect on a free port, and clients that speak to it as AWS's users do."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .site import running

ROLE = "arn:aws:iam::000000000000:role/test"


def zipped(files: str | dict[str, str], mode: int = 0o644) -> bytes:
    """A deployment package; a text is handler.py."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in ({"handler.py": files} if isinstance(files, str) else files).items():
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            info.external_attr = mode << 16
            archive.writestr(info, text)
    return made.getvalue()


class Aws:
    """Clients of one server."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        self.token = token

    def client(self, service: str = "lambda", *, key: str = "test", secret: str = "test", region: str = "us-east-1") -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=30),
        )

    def deploy(self, name: str, files: str | dict[str, str], **options: Any) -> Any:
        options = {"Runtime": "python3.12", "Handler": "handler.handler", "Role": ROLE, "Timeout": 5} | options
        return self.client().create_function(FunctionName=name, Code={"ZipFile": zipped(files)}, **options)

    def call(self, name: str, event: Any = None, **options: Any) -> tuple[Any, Any]:
        """(decoded payload, the whole answer)."""
        answer = self.client().invoke(FunctionName=name, Payload=json.dumps({} if event is None else event), **options)
        payload = answer["Payload"].read()
        return (json.loads(payload) if payload else None), answer


@contextmanager
def serving(data: Path, **settings: Any) -> Iterator[Aws]:
    """A server that listens, until the block ends."""
    ready: threading.Event = threading.Event()
    made: list[Aws] = []
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    failed: list[BaseException] = []

    async def run() -> None:
        async with running(data, dialects=("lambda",), listeners={"lambda": 0}, **settings) as site:
            done = asyncio.Event()
            stop.append((asyncio.get_running_loop(), done))
            made.append(Aws(f"http://127.0.0.1:{site.server.listeners['lambda'].port}", site.server.token))
            ready.set()
            await done.wait()

    def serve() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=serve, name="server")
    thread.start()
    ready.wait(60)
    if failed:
        raise failed[0]
    try:
        yield made[0]
    finally:
        loop, done = stop[0]
        loop.call_soon_threadsafe(done.set)
        thread.join(30)
