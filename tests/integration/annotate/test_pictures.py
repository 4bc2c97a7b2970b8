"""The pictures of docs/annotate.md are made by the command that stands beside them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs.images import annotate_pictures

from tests.integration.annotate.rig import Call, write_calls
from tests.integration.fixtures_phoenix import PhoenixServer

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]
DOCS = REPOSITORY / "docs"


def test_the_command_makes_every_picture_of_the_page(
    phoenix_server: PhoenixServer, tmp_path: Path
) -> None:
    calls = [Call(question=f"A refund for order {n}?", answer="Yes, a refund.") for n in range(8)]
    write_calls(phoenix_server, "pictured", calls)
    found = re.search(r"``python (.+?)``", annotate_pictures.__doc__ or "")
    assert found
    command = found[1].replace("http://127.0.0.1:6006", phoenix_server.base_url)
    words = command.replace("PROJECT", "pictured").split()
    quick = ["--folder", str(tmp_path), "--thinking-ms", "50"]

    done = subprocess.run([sys.executable, *words, *quick], cwd=REPOSITORY, timeout=120)

    assert done.returncode == 0
    page = (DOCS / "annotate.md").read_text()
    shown = set(re.findall(r"\(images/([\w-]+\.png)\)", page))
    assert {file.name for file in tmp_path.iterdir()} == shown
    assert all((DOCS / "images" / name).is_file() for name in shown)
