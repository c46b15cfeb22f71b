"""Whether a firewall of the machine drops what functions send: Docker's, ufw's, firewalld's or the operator's own.

All forwarded packets pass all chains at the hook `forward`, whoever made them; one that drops by default, or ends in a rule that refuses
everything, swallows the egress of functions, and they see timeouts. What nftables lists includes rules made with iptables-nft.
"""

from __future__ import annotations

import re

from .nft import Nft

OURS = ("dayfly_", '"df*"', '"df+"')  # a table of ours; names of our interfaces in a rule that lets them through

_TABLE = re.compile(r"^table (\w+ \S+) \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
_CHAIN = re.compile(r"^\s*chain (\S+) \{$(.*?)^\s*\}$", re.MULTILINE | re.DOTALL)
_REFUSES = re.compile(r"(counter( packets \d+ bytes \d+)? )?(drop|reject\b.*)")


def swallowing() -> list[str]:
    """Chains of this machine, as `ip filter FORWARD`, that drop what functions send. Raises OSError where they cannot be listed."""
    nft = Nft()
    try:
        return closed(nft.run("list ruleset"))
    finally:
        nft.close()


def closed(ruleset: str) -> list[str]:
    """Those chains in what `nft list ruleset` prints. A table with a rule about our interfaces is taken to let them through."""
    found = []
    for table, content in _TABLE.findall(ruleset):
        if any(ours in table + content for ours in OURS):
            continue
        for chain, text in _CHAIN.findall(content):
            lines = [line.strip() for line in text.strip().splitlines()]
            if lines and "hook forward" in lines[0] and ("policy drop" in lines[0] or _REFUSES.fullmatch(lines[-1])):
                found.append(f"{table} {chain}")
    return found
