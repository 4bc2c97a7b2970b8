"""Routes that lead to the internet lead nowhere else: addresses, names that change, redirects."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.integration.proxy_rig import Message, ProxyProcess, answering, ask, plain, post, upstream
from tests.ports import free_ports
from tracequill_collector.proxy import public_address
from tracequill_collector.proxy.http_upstream import HttpUpstream
from tracequill_collector.proxy.route import Origin
from tracequill_collector.proxy.upstream import UpstreamError, UpstreamRequest

pytestmark = pytest.mark.integration

# All of them are this machine.
HOSTS = ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"]
NOT_PUBLIC = b"its address is not public"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    process = ProxyProcess(tmp_path_factory.mktemp("proxy"))
    lines = ["routes:"]
    for number, host in enumerate(HOSTS):
        url = f"http://{host}:{process.upstream_port}"
        lines.append(f"  public-{number}: {{upstream: '{url}', public: true}}")
        lines.append(f"  own-{number}: {{upstream: '{url}'}}")
    lines.append("  metadata: {upstream: 'http://169.254.169.254', public: true}")
    (process.folder / "tracequill.yaml").write_text("\n".join(lines))
    process.start()
    yield process
    assert process.stop() == 0, process.log
    assert "unexpectedly" not in process.log


@pytest.mark.parametrize("number", range(len(HOSTS)), ids=HOSTS)
async def test_a_public_route_never_leads_to_this_machine(proxy: ProxyProcess, number: int) -> None:
    """Portkey's CVE-2026-110719 and Bifrost's CVE-2026-55245: a host that leads inside."""
    reached: list[Message] = []
    async with upstream(proxy.upstream_port, answering(plain(b"{}"), reached)):
        refused = await ask(proxy, post(b"/public-%d/x" % number, b"{}"))
        assert reached == []
        own = await ask(proxy, post(b"/own-%d/x" % number, b"{}"))
    exchange = await proxy.exchange(refused.trace_id)
    host = HOSTS[number]

    assert refused.status == 502
    assert exchange.end == "upstream_unreachable"
    # A route of one's own leads anywhere, if only the name is one to the system.
    if own.status == 200:
        assert NOT_PUBLIC in refused.body
        assert b"set 'public: false'" in refused.body
    else:
        assert host in ("2130706433", "0x7f.1")


async def test_the_metadata_of_a_cloud_is_out_of_reach(proxy: ProxyProcess) -> None:
    response = await ask(proxy, post(b"/metadata/latest/meta-data", b"{}"))

    assert (response.status, NOT_PUBLIC in response.body) == (502, True)


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"307 Temporary", b"308 Permanent"])
async def test_a_redirect_goes_to_the_client_and_nowhere_else(
    proxy: ProxyProcess, status: bytes
) -> None:
    """MLflow's CVE-2026-64849: what is checked once is no longer true after a redirect."""
    elsewhere: list[Message] = []
    [port] = free_ports(1)
    location = b"Location: http://127.0.0.1:%d/evil" % port
    async with (
        upstream(port, answering(plain(b"{}"), elsewhere)),
        upstream(proxy.upstream_port, answering(plain(b"", location, status=status))),
    ):
        response = await ask(proxy, post(b"/openai/v1/x", b"{}", b"Authorization: Bearer k"))

    assert response.first_line == b"HTTP/1.1 " + status
    assert location in response.head
    assert elsewhere == []


@pytest.mark.parametrize(
    "path",
    [
        b"/openai/v1/../admin",
        b"/openai/v1/./x",
        b"/openai/v1/..",
        b"/openai/%2e%2e/admin",
        b"/openai/.%2E/admin",
        b"/openai/a%2F..%2Fadmin",
        b"/openai/a%5c%2e%2e%5cadmin",
        b"/openai/a\\..\\admin",
        b"/openai/%252e%252e/admin",
        b"/openai/..;/admin",
        b"/bedrock/us-east-1/model/%2e%2e/%2e%2e/x",
    ],
    ids=lambda path: path.decode(),
)
async def test_a_path_cannot_climb(proxy: ProxyProcess, path: bytes) -> None:
    """Litellm 26938, 24501: what one server passes on as a name, the next one resolves."""
    reached: list[Message] = []
    async with upstream(proxy.upstream_port, answering(plain(b"{}"), reached)):
        response = await ask(proxy, post(path, b"{}"))

    assert (response.status, b"dot segment" in response.body) == (400, True)
    assert reached == []


class Rebinding(AbstractResolver):
    """A name server that says something else each time: *ports* stand for addresses."""

    def __init__(self, *answers: list[int]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=one, family=socket.AF_INET, proto=0, flags=0
            )
            for one in self.answers.pop(0)
        ]

    async def close(self) -> None:
        pass


class Internet:
    """Two servers: by the fake check one is on the internet, by the real one none is."""

    def __init__(self, *answers: list[str]) -> None:
        self.public_port, self.inner_port = free_ports(2)
        ports = {"public": self.public_port, "inner": self.inner_port}
        self.http = HttpUpstream(
            resolver=Rebinding(*([ports[name] for name in names] for names in answers)),
            public_socket=self._socket,
        )
        self.public: list[Message] = []
        self.inner: list[Message] = []

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        if address[4][1] == self.public_port:
            return socket.socket(*address[:3])
        return public_address.public_socket(address)

    async def send(self, *, public: bool) -> int:
        origin = Origin("http", "api.example", 80, "api.example", public)
        headers = [(b"Host", b"api.example")]
        request = UpstreamRequest("GET", origin, "/", headers, b"", None, False)
        response = await self.http.send(request)
        while not response.at_end:
            await response.read()
        await response.close()
        return response.status

    @contextlib.asynccontextmanager
    async def served(self, *headers: bytes) -> AsyncIterator[None]:
        answer = plain(b"{}", *headers)
        async with (
            upstream(self.public_port, answering(answer, self.public)),
            upstream(self.inner_port, answering(answer, self.inner)),
            self.http,
        ):
            yield


async def test_a_name_that_comes_to_mean_this_machine_leads_nowhere() -> None:
    """DNS rebinding, MLflow's CVE-2026-64849: the address is checked that is connected to."""
    net = Internet(["public"], ["inner"], ["public"])
    async with net.served(b"Connection: close"):
        assert await net.send(public=True) == 200
        net.http._public_connector.clear_dns_cache()
        with pytest.raises(UpstreamError, match=re.escape(NOT_PUBLIC.decode())):
            await net.send(public=True)
        net.http._public_connector.clear_dns_cache()
        assert await net.send(public=True) == 200

    assert (len(net.public), net.inner) == (2, [])


async def test_of_several_addresses_only_the_public_ones_are_tried() -> None:
    net = Internet(["inner", "public", "inner"])
    async with net.served():
        assert await net.send(public=True) == 200

    assert (len(net.public), net.inner) == (1, [])


async def test_a_connection_of_another_route_is_no_way_inside() -> None:
    """The same name, first by a route that may lead anywhere: its connection stays its own."""
    net = Internet(["inner"], ["inner"])
    async with net.served():
        assert await net.send(public=False) == 200
        with pytest.raises(UpstreamError, match="not public"):
            await net.send(public=True)
        assert await net.send(public=False) == 200

    assert (net.public, len(net.inner)) == ([], 2)
