"""The count of a chain of calls in X-Amzn-Trace-Id."""

from __future__ import annotations

import pytest

from dayfly.dialects.aws.faults import AwsError
from dayfly.dialects.aws.recursion import HOPS, counted

ARN = "arn:aws:lambda:us-east-1:000000000000:function:loop"


def test_a_function_is_stopped_after_so_many_calls_of_one_chain() -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    for _ in range(HOPS):
        trace = counted(trace, ARN, "Terminate")
    assert trace.startswith("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=")
    assert trace.endswith(f":{HOPS}")
    with pytest.raises(AwsError) as caught:
        counted(trace, ARN, "Terminate")
    assert caught.value.code == "RecursiveInvocationException"
    assert counted(trace, ARN, "Allow").endswith(f":{HOPS + 1}")
    assert counted(trace, ARN + "2", "Terminate").count("|") == 1, "another function of the chain counts for itself"


@pytest.mark.parametrize("trace", ["", "Lineage=", "Lineage=zz", "Lineage=::|:|1", "x" * 500, "Lineage=ab:999999999999", ";;;"])
def test_what_is_no_lineage_begins_one(trace: str) -> None:
    assert counted(trace, ARN, "Terminate").endswith(":1")
