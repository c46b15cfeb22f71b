"""Defaults and limits of AWS Lambda (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html), as data."""

from __future__ import annotations

import os

from ...model.profile import Profile

FREEZE = float(os.environ.get("DAYFLY_AWS_FREEZE", "0.01"))  # seconds without a call until an instance is frozen; 0: never
INIT = float(
    os.environ.get("DAYFLY_AWS_INIT", "10")
)  # seconds that code may take to load before it is loaded again with its call
INIT_PROVISIONED = 130.0  # seconds, where nobody waits for it
SYNC_LIMIT = 6 * 1024 * 1024 + 100  # bytes of a payload
ASYNC_LIMIT = 1024 * 1024  # bytes

PROFILE = Profile(
    name="lambda",
    timeout_s=3.0,
    max_timeout_s=900.0,
    memory_mb=128,
    max_memory_mb=10240,
    name_pattern=r"^[a-zA-Z0-9_-]{1,64}$",
    payload_limit=SYNC_LIMIT,
    async_payload_limit=ASYNC_LIMIT,
    response_limit=SYNC_LIMIT,
    async_retries=2,
    async_delays=(60.0, 120.0),
    async_max_age=6 * 3600.0,
    as_is=True,
    loads_again=True,
)
