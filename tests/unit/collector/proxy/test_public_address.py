from __future__ import annotations

import socket

import pytest

from tracequill_collector.proxy.public_address import NotPublicError, is_public, public_socket


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.1",
        "192.167.1.1",
        "169.253.1.1",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
    ],
)
def test_machines_on_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        # loopback, unspecified, private
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "::1",
        "::",
        # link-local: the metadata services of clouds
        "169.254.169.254",
        "169.254.170.2",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "168.63.129.16",
        "100.100.100.200",
        # carrier-grade NAT, documentation, benchmarking, multicast, reserved
        "100.64.0.1",
        "100.127.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "fc00::1",
        "fec0::1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        # an IPv4 address inside: mapped, compatible, NAT64, 6to4, Teredo
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        # no address
        "localhost",
        "",
        "127.1",
        "2130706433",
    ],
)
def test_everything_else_is_not(address: str) -> None:
    """A deny list that forgets CGNAT, 6to4 or NAT64 is Bifrost's CVE-2026-55245."""
    assert not is_public(address)


def test_a_socket_is_made_for_a_public_address_only() -> None:
    kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    with public_socket((*kind, ("8.8.8.8", 443))) as made:
        assert made.family == socket.AF_INET

    with pytest.raises(NotPublicError):
        public_socket((*kind, ("10.0.0.1", 443)))
