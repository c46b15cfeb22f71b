"""What `env aws` prints and `import` does with a SAM template."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from .errors import Failure
from .options import Session
from .output import note

PORT = 4566  # of the Lambda dialect's listener, unless told otherwise


def variables(url: str, port: int = PORT) -> dict[str, str]:
    """What AWS's tools read. Keys that are set already stay."""
    host = urlsplit(url).hostname or "localhost"
    return {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": os.environ.get("AWS_ACCESS_KEY_ID", "test"),
        "AWS_SECRET_ACCESS_KEY": os.environ.get("AWS_SECRET_ACCESS_KEY", "test"),
        "AWS_DEFAULT_REGION": os.environ.get("DAYFLY_AWS_REGION", "us-east-1"),
    }


def is_template(text: str) -> bool:
    """Whether this is a template of SAM or CloudFormation."""
    return re.search(r"^Resources\s*:", text, re.MULTILINE) is not None


def deploy(session: Session, template: Path, parameters: dict[str, str], port: int, dry_run: bool) -> None:
    """Make what a SAM template describes."""
    try:
        from . import sam
    except ModuleNotFoundError as error:
        raise Failure(f"Reading a template needs {error.name}.", hint="Install it: pip install 'dayfly[lambda]'") from None

    plan = sam.read(template, parameters)
    if dry_run:
        for logical in (*plan.layers, *plan.queues, *plan.functions):
            note(f"{plan.name(logical)}: would be made")
    else:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            sam.apply(plan, variables(session.url, port), lambda one: _schedule(session, one), click.echo)
        except (BotoCoreError, ClientError) as error:
            raise Failure(f"{template}: {error}") from None
    for left in plan.left_out:
        note(f"left out: {left}")


def _schedule(session: Session, schedule: Any) -> None:
    settings: dict[str, Any] = {"schedule": schedule.expression}
    if schedule.body:
        settings["data"] = json.loads(schedule.body)
    body = {
        "target": {"kind": "function", "name": schedule.function, "shape": "data"},
        "source": {"kind": "timer", "settings": settings},
        "description": "A schedule of a SAM template",
    }
    session.client.request("PUT", session.path("triggers", schedule.name.lower()), send=body)
