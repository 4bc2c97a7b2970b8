"""The proxy's own AWS credentials, kept fresh while calls go on.

They come from where every AWS client looks for them: variables, profiles, SSO, a role of the
container or the machine. Finding and refreshing them is botocore's, in a thread of its own, well
before they expire; a call takes what is there. Only the first call waits. botocore is imported in
that thread, so a proxy that signs nothing never pays for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from tracequill_collector.proxy.sigv4 import Credentials
from tracequill_collector.proxy.upstream import UpstreamError

FIRST_SECONDS = 15.0
# How long before their end credentials are refreshed; the longest that their life allows.
_MARGINS_SECONDS = (900, 600, 300, 120, 60, 30, 10)
_POLL_SECONDS = 1.0
# Keys that do not expire may be replaced in their file.
_READ_AGAIN_SECONDS = 60.0
_RETRY_SECONDS = (2.0, 5.0, 10.0, 30.0)
# Errors whose text is botocore's own, and says what to do.
_TOLD = frozenset(
    {
        "ConfigParseError",
        "InvalidConfigError",
        "NoRegionError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "SSOTokenLoadError",
        "UnauthorizedSSOTokenError",
    }
)
NONE_FOUND = (
    "no AWS credentials were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, for the proxy, or give its machine or container a role"
)

_log = logging.getLogger(__name__)


class FrozenKeys(Protocol):
    """botocore's ``ReadOnlyCredentials``."""

    @property
    def access_key(self) -> str | None: ...
    @property
    def secret_key(self) -> str | None: ...
    @property
    def token(self) -> str | None: ...


class Chain(Protocol):
    """What botocore found; temporary ones have ``refresh_needed`` as well."""

    method: str

    def get_frozen_credentials(self) -> FrozenKeys:
        """Give the keys, refreshed when their end is near. May take long, and may fail."""


def find_chain() -> Chain | None:
    """Look where botocore looks for credentials; None when there are none."""
    import botocore.session

    # At DEBUG it logs what it was given, keys included.
    logging.getLogger("botocore").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    return botocore.session.Session().get_credentials()


def keys_of(chain: Chain) -> Credentials:
    """Give the keys as a signature needs them; ValueError for what no header can hold."""
    frozen = chain.get_frozen_credentials()
    found = Credentials(frozen.access_key or "", frozen.secret_key or "", frozen.token or None)
    for value in found:
        if value is not None and not (value and value.isascii() and value.isprintable()):
            raise ValueError("a key is empty or holds a character that no key has")
    return found


def reason_of(error: BaseException) -> str:
    """Say what failed. Only botocore's own words: other messages may quote an answer with keys."""
    kind = type(error)
    if kind.__name__ in _TOLD and kind.__module__ == "botocore.exceptions":
        return str(error).rstrip(".")
    if kind.__name__ == "ClientError":
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "unknown")
        return f"AWS answered {code}"
    if kind is ValueError and kind.__module__ == "builtins" and "key" in str(error):
        return str(error)
    return kind.__name__


class AwsCredentials:
    """Gives credentials to sign with. Used as a context manager."""

    def __init__(
        self,
        find: Callable[[], Chain | None] = find_chain,
        *,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        self._find = find
        self._first_seconds = first_seconds
        self._chain: Chain | None = None
        self._current: Credentials | None = None
        self._problem = ""
        self._failures = 0
        self._margin_seconds = 0.0
        self._read_again_at = 0.0
        self._stop = threading.Event()
        self._answered = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        # Not joined at the end: it may hang in a request that nobody waits for any more.
        threading.Thread(target=self._run, name="aws-credentials", daemon=True).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()

    async def get(self) -> Credentials:
        """Give the credentials of this moment; UpstreamError when there are none that hold."""
        if not self._answered.is_set():
            try:
                async with asyncio.timeout(self._first_seconds):
                    await self._answered.wait()
            except TimeoutError:
                raise _unsigned("AWS credentials are still being looked for") from None
        current = self._current
        if current is None:
            raise _unsigned(self._problem)
        return current

    def _run(self) -> None:
        while not self._stop.is_set():
            pause_seconds = self._renew()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop has ended
                return
            self._stop.wait(pause_seconds)

    def _renew(self) -> float:
        """Do what is due, and give the seconds until the next look."""
        if not self._is_due():
            return _POLL_SECONDS
        try:
            # After a failure from the beginning: what the chain was made of may have changed.
            chain = self._chain if self._chain is not None and not self._failures else self._find()
            if chain is None:
                return self._failed(NONE_FOUND)
            found = keys_of(chain)
        except Exception as error:
            return self._failed(f"AWS credentials cannot be had: {reason_of(error)}")
        if _expires_within(chain, 0):
            return self._failed("the AWS credentials have expired")
        if self._chain is None or self._failures:
            _log.info("AWS credentials found", extra={"source": chain.method})
        self._failures = 0
        self._problem = ""
        self._current = found
        self._chain = chain if hasattr(chain, "refresh_needed") else None
        # The variables of this process do not change.
        again = float("inf") if chain.method == "env" else _READ_AGAIN_SECONDS
        self._read_again_at = time.monotonic() + again
        self._margin_seconds = next(
            (margin for margin in _MARGINS_SECONDS if not _expires_within(chain, margin)), 0
        )
        return _POLL_SECONDS

    def _is_due(self) -> bool:
        if self._current is None or self._failures:
            return True
        if self._chain is None:
            return time.monotonic() >= self._read_again_at
        return _expires_within(self._chain, self._margin_seconds)

    def _failed(self, problem: str) -> float:
        """Note *problem*; what is there goes on being used until its end."""
        if self._chain is not None and _expires_within(self._chain, 0):
            self._current = None
        if problem != self._problem:
            self._problem = problem
            _log.error("AWS credentials are missing or grow old", extra={"reason": problem})
        pause_seconds = _RETRY_SECONDS[min(self._failures, len(_RETRY_SECONDS) - 1)]
        self._failures += 1
        return pause_seconds


def _expires_within(chain: Chain, seconds: float) -> bool:
    needed = getattr(chain, "refresh_needed", None)
    return needed is not None and bool(needed(seconds))


def _unsigned(reason: str) -> UpstreamError:
    return UpstreamError(f"the proxy cannot sign this call: {reason}.", status=503)
