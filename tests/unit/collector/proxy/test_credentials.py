"""Credentials are fresh before they are needed; the clock and what botocore finds are fakes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError, ProfileNotFound

from tracequill_collector.proxy import credentials as module
from tracequill_collector.proxy.credentials import AwsCredentials, Chain, reason_of
from tracequill_collector.proxy.sigv4 import Credentials
from tracequill_collector.proxy.upstream import UpstreamError


@dataclass
class Keys:
    access_key: str | None
    secret_key: str | None = "secret"
    token: str | None = None


@dataclass
class Lasting:
    """Keys that do not expire."""

    access_key: str
    method: str = "shared-credentials-file"

    def get_frozen_credentials(self) -> Keys:
        return Keys(self.access_key)


@dataclass
class Expiring:
    """Keys with an end, as botocore's RefreshableCredentials treats them."""

    life_seconds: float
    left_seconds: float = field(init=False)
    fetched: int = 1
    broken: Exception | None = None
    method: str = "container-role"
    may_answer: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.left_seconds = self.life_seconds
        self.may_answer.set()

    def refresh_needed(self, seconds: float) -> bool:
        return self.left_seconds < seconds

    def get_frozen_credentials(self) -> Keys:
        if self.left_seconds < 900 and self.life_seconds != self.left_seconds:
            self.may_answer.wait(60)
            if self.broken is not None:
                raise self.broken
            self.fetched += 1
            self.left_seconds = self.life_seconds
        return Keys(f"KEY{self.fetched}", token="token")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.001)
    monkeypatch.setattr(module, "_RETRY_SECONDS", (0.001,))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread changes it: no event
            await asyncio.sleep(0.001)


async def key_of(credentials: AwsCredentials) -> str:
    """Give the access key, or why there is none."""
    try:
        return (await credentials.get()).access_key
    except UpstreamError as error:
        return str(error)


async def until_key(credentials: AwsCredentials, wanted: str) -> None:
    async with asyncio.timeout(10):
        while wanted not in await key_of(credentials):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)


async def test_the_first_call_waits_for_what_is_found() -> None:
    may_answer = threading.Event()

    def find() -> Chain:
        may_answer.wait(60)
        return Lasting("KEY")

    async with AwsCredentials(find) as credentials, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(credentials.get())
        await asyncio.sleep(0)
        assert not first.done()
        may_answer.set()
        assert await first == Credentials("KEY", "secret")


async def test_a_first_call_does_not_wait_for_ever() -> None:
    may_answer = threading.Event()

    def find() -> None:
        may_answer.wait(60)

    async with AwsCredentials(find, first_seconds=0.01) as credentials:
        with pytest.raises(UpstreamError, match="still being looked for") as caught:
            await credentials.get()
        may_answer.set()

    assert caught.value.status == 503


@pytest.mark.parametrize("life_seconds", [6 * 3600, 900, 120, 20])
async def test_keys_are_refreshed_before_their_end_and_no_call_waits(life_seconds: float) -> None:
    """B13: with the refresh on the way of a call, one call an hour would wait for STS."""
    chain = Expiring(life_seconds)
    async with AwsCredentials(lambda: chain) as credentials:
        assert (await credentials.get()).access_key == "KEY1"
        chain.may_answer.clear()
        # The longest margin that such a life has, and a little.
        margin = next(one for one in module._MARGINS_SECONDS if one <= life_seconds)
        chain.left_seconds = margin - 1
        for _ in range(20):
            async with asyncio.timeout(10):
                assert (await credentials.get()).access_key == "KEY1"
        chain.may_answer.set()
        await until_key(credentials, "KEY2")

    assert chain.fetched == 2


async def test_a_refresh_that_fails_leaves_what_is_there_until_its_end() -> None:
    chain = Expiring(3600, broken=RuntimeError("no answer"))
    finds: list[int] = []

    def find() -> Chain:
        finds.append(1)
        return chain

    async with AwsCredentials(find) as credentials:
        assert (await credentials.get()).access_key == "KEY1"
        chain.left_seconds = 500
        await until(lambda: len(finds) > 2)
        assert (await credentials.get()).access_key == "KEY1"
        chain.left_seconds = -1
        await until_key(
            credentials, "cannot sign this call: AWS credentials cannot be had: Runtime"
        )
        chain.broken = None
        await until_key(credentials, "KEY2")


async def test_keys_that_come_later_are_found_without_a_new_start() -> None:
    may_find = threading.Event()

    def find() -> Chain | None:
        return Lasting("LATER") if may_find.is_set() else None

    async with AwsCredentials(find) as credentials:
        assert "no AWS credentials were found; set AWS_PROFILE" in await key_of(credentials)
        may_find.set()
        await until_key(credentials, "LATER")


async def test_keys_in_a_file_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_AGAIN_SECONDS", 0.001)
    keys = ["OLD"]

    async with AwsCredentials(lambda: Lasting(keys[0])) as credentials:
        assert (await credentials.get()).access_key == "OLD"
        keys[0] = "NEW"
        await until_key(credentials, "NEW")


@pytest.mark.parametrize("access_key", ["", "KEY\r\nX-Evil: 1", "KÉY", None])
async def test_a_key_that_no_header_can_hold_is_not_used(access_key: str | None) -> None:
    class Odd(Lasting):
        def get_frozen_credentials(self) -> Keys:
            return Keys(access_key)

    async with AwsCredentials(lambda: Odd("")) as credentials:
        with pytest.raises(UpstreamError, match="holds a character that no key has"):
            await credentials.get()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ProfileNotFound(profile="work"), "The config profile (work) could not be found"),
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "canary"}}, "AssumeRole"),
            "AWS answered AccessDenied",
        ),
        (CredentialRetrievalError(provider="p", error_msg="canary"), "CredentialRetrievalError"),
        (OSError("canary"), "OSError"),
        (ValueError("canary"), "ValueError"),
    ],
)
def test_a_reason_quotes_no_answer(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
