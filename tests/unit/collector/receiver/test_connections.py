from __future__ import annotations

import resource

import pytest

from tracequill_collector.receiver.connections import connection_limits


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """What this process may open, soft and hard, as ``limits``."""
    state = {"limits": (1024, 4096)}

    def put(kind: int, limits: tuple[int, int]) -> None:
        state["limits"] = limits

    monkeypatch.setattr(resource, "getrlimit", lambda kind: state["limits"])
    monkeypatch.setattr(resource, "setrlimit", put)
    return state


def test_as_many_files_as_there_may_be_are_shared_by_both_protocols(
    files: dict[str, tuple[int, int]],
) -> None:
    limits = connection_limits()

    assert files["limits"] == (4096, 4096)
    assert limits.connections == (4096 - 256) // 2


def test_half_of_few_files_is_left_for_the_queue(files: dict[str, tuple[int, int]]) -> None:
    files["limits"] = (100, 100)

    assert connection_limits().connections == 25


@pytest.mark.parametrize("soft", [256, resource.RLIM_INFINITY])
def test_without_a_limit_there_is_one_all_the_same(
    files: dict[str, tuple[int, int]], soft: int
) -> None:
    files["limits"] = (soft, resource.RLIM_INFINITY)

    assert connection_limits().connections == (65_536 - 256) // 2


def test_a_system_that_does_not_let_go_up_is_taken_as_it_is(
    files: dict[str, tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(kind: int, limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)

    assert connection_limits().connections == (1024 - 256) // 2
