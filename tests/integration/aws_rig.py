"""Stand-ins for AWS on this machine: an upstream that checks signatures, and what gives out keys.

The check is written from AWS's own description of Signature Version 4 and reads the bytes that
crossed. It shares no code with the proxy, nor with botocore.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import hmac
import http.server
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.integration.proxy_rig import WAIT_SECONDS, Message, plain, read_body, read_head

_AUTHORIZATION = re.compile(
    rb"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request, "
    rb"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)
_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_CLOCK_SECONDS = 300


@dataclass
class AwsUpstream:
    """Answers what is signed well for one of *keys*, and refuses everything else as AWS does."""

    answer: bytes = plain(b"{}", b"Content-Type: application/json")
    keys: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """Access key: the secret key and the token that belong to it."""
    requests: list[Message] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    scopes: list[tuple[str, str]] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    """The access keys of accepted calls."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            message = Message(head, await read_body(reader, head))
            self.requests.append(message)
            try:
                self._check(message)
            except ValueError as error:
                self.refused.append(str(error))
                body = json.dumps({"message": str(error)}).encode()
                kind = b"x-amzn-ErrorType: InvalidSignatureException"
                writer.write(plain(body, kind, status=b"403 Forbidden"))
            else:
                writer.write(self.answer)
            await writer.drain()

    def _check(self, message: Message) -> None:
        given = [value for name, value in message.headers if name.lower() == b"authorization"]
        if len(given) != 1 or (match := _AUTHORIZATION.fullmatch(given[0])) is None:
            raise ValueError(f"{len(given)} Authorization headers, or not AWS's format")
        access, day, region, service, names, signature = (part.decode() for part in match.groups())
        if access not in self.keys:
            raise ValueError("the access key is unknown")
        secret, token = self.keys[access]
        moment = _one(message, b"x-amz-date")
        if _age_seconds(moment) > _CLOCK_SECONDS or moment[:8] != day:
            raise ValueError("the signature is too old, or from the future")
        if (message.header(b"x-amz-security-token") or b"").decode() != (token or ""):
            raise ValueError("the token is not that of the access key")
        request = _canonical_request(message, names.split(";"))
        scope = f"{day}/{region}/{service}/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request).hexdigest()}"
        key = f"AWS4{secret}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        if hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest() != signature:
            raise ValueError("the signature does not match what came")
        self.scopes.append((region, service))
        self.used.append(access)


def _one(message: Message, name: bytes) -> str:
    found = [value for key, value in message.headers if key.lower() == name]
    if len(found) != 1:
        raise ValueError(f"{len(found)} times {name.decode()}")
    return found[0].decode()


def _age_seconds(moment: str) -> float:
    at = datetime.datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    return abs((datetime.datetime.now(datetime.UTC) - at).total_seconds())


def _canonical_request(message: Message, names: list[str]) -> bytes:
    method, target, _ = message.first_line.split(b" ")
    path, _, query = target.partition(b"?")
    headers: dict[str, list[bytes]] = {}
    for name, value in message.headers:
        headers.setdefault(name.lower().decode(), []).append(value)
    must = {"host", "content-type", *(name for name in headers if name.startswith("x-amz-"))}
    if names != sorted(names) or not must & headers.keys() <= set(names):
        raise ValueError(f"the signed headers are {names}")
    if not set(names) <= must:
        raise ValueError(f"headers are signed that may change on the way: {names}")
    if len(headers.get("content-type", ())) > 1:
        raise ValueError("two content types")
    if "transfer-encoding" in headers:
        raise ValueError("a length is missing")
    lines = [
        method,
        b"/".join(_encoded(part) for part in path.split(b"/")),
        _canonical_query(query),
    ]
    for one in names:
        value = b",".join(re.sub(rb"[ ]+", b" ", value.strip()) for value in headers[one])
        lines.append(one.encode() + b":" + value)
    lines += [b"", ";".join(names).encode(), hashlib.sha256(message.body).hexdigest().encode()]
    return b"\n".join(lines)


def _canonical_query(query: bytes) -> bytes:
    pairs = []
    for part in query.split(b"&") if query else []:
        name, _, value = part.partition(b"=")
        if name.lower().startswith(b"x-amz-"):
            raise ValueError("two signatures")
        pairs.append((_encoded(_decoded(name)), _encoded(_decoded(value))))
    return b"&".join(name + b"=" + value for name, value in sorted(pairs))


def _encoded(data: bytes) -> bytes:
    return b"".join(bytes([byte]) if byte in _UNRESERVED else b"%%%02X" % byte for byte in data)


def _decoded(data: bytes) -> bytes:
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), data)


@dataclass
class KeyGiver:
    """What gives temporary keys to a container, and to who assumes a role (STS)."""

    port: int = 0
    life_seconds: float = 6 * 3600
    given: int = 0
    at_once: int | None = None
    """How many answers are not held back; None: all of them."""
    may_answer: threading.Event = field(default_factory=threading.Event)
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def give(self) -> dict[str, str]:
        self.asked.release()
        if self.at_once is not None and self.given >= self.at_once:
            self.may_answer.wait(WAIT_SECONDS)
        self.given += 1
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.life_seconds)
        return {
            "AccessKeyId": f"ASIA{self.given}",
            "SecretAccessKey": f"secret-{self.given}",
            "Token": f"token-{self.given}",
            "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    @staticmethod
    def known(count: int) -> dict[str, tuple[str, str | None]]:
        """The keys that are given first, as ``AwsUpstream`` wants them."""
        return {f"ASIA{n}": (f"secret-{n}", f"token-{n}") for n in range(1, count + 1)}


@contextlib.contextmanager
def key_giver(**options: Any) -> Iterator[KeyGiver]:
    """Serve keys on a free port."""
    giver = KeyGiver(**options)

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send(json.dumps(giver.give()), "application/json")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            keys = giver.give()
            keys["SessionToken"] = keys.pop("Token")
            fields = "".join(f"<{name}>{value}</{name}>" for name, value in keys.items())
            self.send(
                '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
                f"<AssumeRoleResult><Credentials>{fields}</Credentials></AssumeRoleResult>"
                "</AssumeRoleResponse>",
                "text/xml",
            )

        def send(self, text: str, content_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        giver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield giver
        finally:
            giver.may_answer.set()
            server.shutdown()
            thread.join()
