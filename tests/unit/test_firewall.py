"""A firewall of the machine that swallows what functions send is found in what nftables lists."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from dayfly.sandbox.node.net.firewall import closed, swallowing
from dayfly.sandbox.node.net.nft import Nft
from dayfly.sandbox.node.net.rtnetlink import new_namespace
from dayfly.sandbox.node.protections import firewalled
from tests.support.internet import missing

DOCKER = """table ip filter {
	chain DOCKER-USER {
		%s
	}

	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		counter packets 3 bytes 180 jump DOCKER-USER
	}
}
"""
FIREWALLD = """table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		reject with icmpx admin-prohibited
	}

	chain filter_INPUT {
		type filter hook input priority filter + 10; policy drop;
	}
}
"""
OURS = """table inet dayfly_abc {
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
"""


@pytest.mark.parametrize(
    ("ruleset", "found"),
    [
        ("", []),
        (OURS, []),
        (DOCKER % "counter return", ["ip filter FORWARD"]),
        (DOCKER % 'iifname "df*" counter accept', []),
        (FIREWALLD + OURS + DOCKER % "return", ["inet firewalld filter_FORWARD", "ip filter FORWARD"]),
        (FIREWALLD.replace("\t\treject with icmpx admin-prohibited\n", ""), []),
    ],
)
def test_chains_that_drop_what_is_forwarded(ruleset: str, found: list[str]) -> None:
    assert closed(ruleset) == found


def test_the_doctor_says_which_and_what_to_do() -> None:
    line = firewalled(["ip filter FORWARD"])
    assert line is not None
    assert (line.name, line.state) == ("firewall", "weaker")
    assert "ip filter FORWARD" in line.why
    assert "df+" in line.todo
    assert firewalled([]) is None


@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_a_real_one_is_found() -> None:
    """Given a machine, made up, whose administrator lets nothing be forwarded."""

    def administrate() -> list[str]:
        os.close(new_namespace())
        nft = Nft()
        nft.run("table inet guard {\n chain everything {\n type filter hook forward priority 0; policy drop;\n }\n}\n")
        nft.close()
        return swallowing()

    with ThreadPoolExecutor(1) as thread:  # it alone is on that machine, and ends there
        assert thread.submit(administrate).result() == ["inet guard everything"]
