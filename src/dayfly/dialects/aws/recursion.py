"""Recursion detection: how often one chain of calls has come through a function.

The count travels as `Lineage` in X-Amzn-Trace-Id, which the SDKs pass on when they call from within a function: `Lineage=HASH:COUNT`, a
pair for each function of the chain with `|` between them. https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
"""

from __future__ import annotations

import hashlib
import re

from .faults import AwsError

HOPS = 16  # calls of a function in one chain; the next one is stopped
_LINEAGE = re.compile(r"(?:^|;)\s*Lineage=([0-9a-f:|]{1,400})")
_PAIRS = 16  # functions of a chain that are counted at most


def counted(trace: str, arn: str, loop: str) -> str:
    """The trace header with one more call of this function. Raises AwsError when that is one too many, and `loop` (RecursiveLoop of
    the function's configuration) is not Allow."""
    found = _LINEAGE.search(trace)
    counts: dict[str, int] = {}
    for pair in found[1].split("|") if found is not None else ():
        name, _, count = pair.partition(":")
        if count.isdecimal() and len(count) < 6 and len(counts) < _PAIRS:
            counts[name] = int(count)
    mine = hashlib.sha256(arn.encode()).hexdigest()[:8]
    counts[mine] = counts.get(mine, 0) + 1
    if counts[mine] > HOPS and loop != "Allow":
        raise AwsError(
            "RecursiveInvocationException",
            "Lambda has detected your function being invoked in a recursive loop with other AWS resources and stopped your function's "
            "invocation.",
            400,
        )
    rest = _LINEAGE.sub("", trace).strip("; ")
    return ";".join(filter(None, (rest, "Lineage=" + "|".join(f"{name}:{count}" for name, count in counts.items()))))
