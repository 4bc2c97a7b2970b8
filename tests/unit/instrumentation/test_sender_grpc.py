from __future__ import annotations

import sys

import pytest

from tracequill._config import resolve_destination
from tracequill._sender import open_sender


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)

    with pytest.raises(ModuleNotFoundError) as raised:
        open_sender(resolve_destination(protocol="grpc"))

    assert "pip install 'tracequill[grpc]'" in str(raised.value)
    assert "http://127.0.0.1:4317" in str(raised.value)
