"""Which addresses are public: machines on the internet, and nothing behind the proxy's back.

An address in, yes or no out; and a socket for a public one. Python's own ``is_global`` is not used:
what it says differs from release to release, and it lets tunnels to private addresses pass.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

# https://www.iana.org/assignments/iana-ipv4-special-registry, and what clouds keep for themselves.
_NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's machine agent
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Only this block is given to machines on the internet: no loopback, link-local, unique local, ...
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo and others that name no machine
        "2001:db8::/32",
        "2002::/16",  # 6to4: any IPv4 address, and no vendor has one
        "3fff::/20",
    )
)
# An IPv4 address in IPv6: mapped, and NAT64, which is the only way out of some networks.
_V4_IN_V6 = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))


class NotPublicError(OSError):
    """A route that leads to the internet would have led to an address that is not public."""


def is_public(text: str) -> bool:
    """Whether *text* is the address of a machine on the internet."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _V4_IN_V6):
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        else:
            inside = address in _PUBLIC_V6
            return inside and not any(address in network for network in _NOT_PUBLIC_V6)
    return not any(address in network for network in _NOT_PUBLIC_V4)


def public_socket(address: tuple[Any, ...]) -> socket.socket:
    """Make the socket for a connection to *address*, one of those that ``getaddrinfo`` gives.

    The check stands here because this is the very address that is connected to: a name that
    resolves differently a moment later changes nothing.
    """
    family, kind, protocol, _, where = address
    if not is_public(where[0]):
        raise NotPublicError("the address is not public")
    return socket.socket(family, kind, protocol)
