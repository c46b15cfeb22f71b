"""Which packets pass: nftables rules of the router that all instances hang on, and of the machine it hangs on.

    instance  eth0 198.18.x.y  --veth--  iN            router, a network namespace of its own            up  --veth--  dfS     the machine
                               default gateway         169.254.1.1: names and platform services       198.19.S.2      198.19.S.1

The router belongs to the node alone, so what happens there touches no rule of the machine, and it is gone with the node however that
ends. The machine itself gets one interface and one table: it lets the router's packets out, behind its own address, and in to nobody.

Addresses 198.18.0.0/15 are set aside for tests of network devices (RFC 2544): no host has them, no route leads there.
"""

from __future__ import annotations

from collections.abc import Iterable

from ....model.network import AWS, SERVICES

DNS_PORT = 53
SERVICES_PORT = 80
UPLINK = "up"
CLOSED = "closed"  # chain of a machine that forwards for us alone
FLOWS = 1024  # connections one instance may have open at a time
SERVICE_FLOWS = 128  # of them to the platform
QUESTIONS = 100  # about names, of one instance a second; twice as many at once

# Not the internet: this network, private, shared, loopback, link-local (cloud metadata), documentation, tests, multicast, reserved.
# IANA's registry of special-purpose addresses; 198.18.0.0/15 are our own instances and those of other servers here.
NEVER = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
)  # fmt: skip


def router(reachable: Iterable[str]) -> str:
    """Rules of the router. `reachable`: networks of NEVER that the operator opens all the same."""
    opened = ", ".join(reachable)
    return f"""
table inet dayfly {{
  set never {{ type ipv4_addr; flags interval; elements = {{ {", ".join(NEVER)} }} }}
  set opened {{ type ipv4_addr; flags interval; auto-merge; {f"elements = {{ {opened} }}" if opened else ""} }}
  set limited {{ type ipv4_addr; }}
  set listed {{ type ipv4_addr . ipv4_addr . inet_service; flags interval; }}
  set named {{ type ipv4_addr . ipv4_addr . inet_service; flags timeout; }}
  set named_any {{ type ipv4_addr . ipv4_addr; flags timeout; }}
  set flows {{ type ipv4_addr; flags dynamic; size 65535; }}
  set askers {{ type ipv4_addr; flags dynamic; size 65535; }}
  set callers {{ type ipv4_addr; flags dynamic; size 65535; }}

  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname "{UPLINK}" drop
    ip daddr {SERVICES} udp dport {DNS_PORT} goto names
    ip daddr {SERVICES} tcp dport {DNS_PORT} goto services
    ip daddr {{ {SERVICES}, {AWS} }} tcp dport {SERVICES_PORT} goto services
    goto refuse
  }}
  chain names {{
    add @askers {{ ip saddr limit rate over {QUESTIONS}/second burst {2 * QUESTIONS} packets }} drop
    accept
  }}
  chain services {{
    ct state new add @callers {{ ip saddr ct count over {SERVICE_FLOWS} }} reject with tcp reset
    accept
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    iifname "{UPLINK}" ct state established,related accept
    iifname "{UPLINK}" drop
    oifname != "{UPLINK}" goto refuse
    meta nfproto != ipv4 goto refuse
    ip daddr @opened goto known
    ip daddr @never goto refuse
    goto known
  }}
  chain known {{
    ct state established,related accept
    ct state invalid drop
    tcp dport 25 goto refuse
    ct state new add @flows {{ ip saddr ct count over {FLOWS} }} goto refuse
    ip saddr != @limited accept
    meta l4proto {{ tcp, udp }} ip saddr . ip daddr . th dport @listed accept
    meta l4proto {{ tcp, udp }} ip saddr . ip daddr . th dport @named accept
    meta l4proto {{ tcp, udp }} ip saddr . ip daddr @named_any accept
    goto refuse
  }}
  chain out {{
    type nat hook postrouting priority srcnat;
    oifname "{UPLINK}" masquerade
  }}
}}
"""


def machine(table: str, interface: str, address: str, *, closed: bool) -> str:
    """Rules of the machine, in the place of what an earlier node left. `interface`, `address`: the machine's end, the router's.

    `closed`: the machine forwarded nothing before it was asked to for us, so it still forwards nothing for others.
    """
    guard = (
        f"""
  chain {CLOSED} {{
    type filter hook forward priority filter; policy accept;
    iifname != "df*" oifname != "df*" drop
  }}"""
        if closed
        else ""
    )
    return f"""
table inet {table} {{ }}
delete table inet {table}
table inet {table} {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname "{interface}" drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{interface}" tcp flags syn tcp option maxseg size set rt mtu
    iifname "{interface}" accept
    oifname "{interface}" ct state established,related accept
    oifname "{interface}" drop
  }}{guard}
  chain out {{
    type nat hook postrouting priority srcnat;
    ip saddr {address} masquerade
  }}
}}
"""
