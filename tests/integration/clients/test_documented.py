"""The lines that README.md and docs/proxy.md show do what they say, word for word.

Only the address is another, since the proxy of a test has a free port.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.proxy_rig import ProxyProcess
from tests.integration.test_mock import mock_server
from tests.integration.vendor_server import VendorServer
from tracequill.settings import load_settings
from tracequill_collector.proxy.route import RouteTable

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
JAVASCRIPT = ROOT / "tests" / "javascript"
ADDRESS = "http://127.0.0.1:4319"
KEYS = {
    "ANTHROPIC_API_KEY": "not-a-key",
    "AWS_ACCESS_KEY_ID": "not-a-key",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AZURE_OPENAI_API_KEY": "not-a-key",
    "GEMINI_API_KEY": "not-a-key",
    "OPENAI_API_KEY": "not-a-key",
}


def blocks(page: str, *languages: str) -> list[str]:
    """Give the blocks of *page* in *languages* that name the proxy's address."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [block for language, block in fences if language in languages and ADDRESS in block]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """A proxy as the page says that it is to be started, before vendors of this machine."""
    folder = tmp_path_factory.mktemp("documented")
    with mock_server() as mock, VendorServer() as vendor:
        (folder / "tracequill.yaml").write_text(
            f"routes:\n  azure:\n    upstream: {vendor.url}\n    vendor: openai\n"
        )
        upstreams = {"OPENAI": mock, "ANTHROPIC": mock, "BEDROCK": mock, "GEMINI": vendor.url}
        variables = {f"TRACEQUILL_UPSTREAM_{name}": url for name, url in upstreams.items()}
        process = ProxyProcess(folder, {**KEYS, **variables, "TRACEQUILL_PROXY_SIGN": "bedrock"})
        process.start()
        yield process
        assert process.stop() == 0, process.log


def answered(proxy: ProxyProcess, route: str) -> int:
    """How many calls of *route* the proxy has answered with success."""
    found = re.findall(
        rf'^tracequill_proxy_requests_total{{[^}}]*route="{route}"[^}}]*}} (\S+)$',
        "\n".join(line for line in proxy.page("/metrics")[1].splitlines() if "200" in line),
        re.M,
    )
    return int(sum(map(float, found)))


def run(proxy: ProxyProcess, *words: str, cwd: Path | None = None, **variables: str) -> str:
    names = ("TRACEQUILL", "OPENAI", "ANTHROPIC", "AWS", "GOOGLE", "GEMINI", "OTEL")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    result = subprocess.run(
        words,
        env={**clean, **KEYS, **variables},
        cwd=cwd or proxy.folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def here(block: str, proxy: ProxyProcess) -> str:
    return block.replace(ADDRESS, proxy.url(""))


PYTHON = [
    (re.findall(rf"{ADDRESS}/([a-z-]+)", block)[0], block)
    for block in blocks("docs/proxy.md", "python")
]


@pytest.mark.parametrize(("route", "block"), PYTHON, ids=[route for route, _ in PYTHON])
def test_the_programs_in_python_call_through_the_proxy(
    proxy: ProxyProcess, route: str, block: str
) -> None:
    before = answered(proxy, route)

    # boto3 takes this one for http addresses only as the page shows it.
    names = re.findall("AWS_BEARER_TOKEN_BEDROCK", block)
    keys = dict.fromkeys(names, "not-a-key")
    said = run(proxy, sys.executable, "-c", here(block, proxy), cwd=proxy.folder, **keys)

    assert said.strip()
    assert answered(proxy, route) == before + 1


def run_javascript(proxy: ProxyProcess, folder: Path, *programs: str, **variables: str) -> None:
    """Run *programs*, two of which call OpenAI and one Bedrock, all through the proxy."""
    subprocess.run(["sh", str(JAVASCRIPT.parent / "javascript.sh")], check=True)
    (folder / "node_modules").symlink_to(JAVASCRIPT / "node_modules")
    openai_before, bedrock_before = (answered(proxy, route) for route in ("openai", "bedrock"))

    for number, program in enumerate(programs):
        (folder / f"{number}.mjs").write_text(program)
        assert run(proxy, "node", f"{number}.mjs", cwd=folder, **variables).strip()

    assert answered(proxy, "openai") == openai_before + 2
    assert answered(proxy, "bedrock") == bedrock_before + 1


def test_the_programs_in_javascript_call_through_the_proxy(
    proxy: ProxyProcess, tmp_path: Path
) -> None:
    programs = blocks("docs/proxy.md", "js")

    run_javascript(proxy, tmp_path, *(here(program, proxy) for program in programs))

    assert len(programs) == 3


UNCHANGED = """
import anthropic, boto3, openai
from google import genai

question = [{"role": "user", "content": "Where is my parcel?"}]
openai.OpenAI().chat.completions.create(model="gpt-4o-mini", messages=question)
anthropic.Anthropic().messages.create(model="claude-haiku-4-5", max_tokens=9, messages=question)
google = genai.Client()
google.models.generate_content(model="gemini-2.5-flash", contents="Where is my parcel?")
boto3.client("bedrock-runtime").converse(
    modelId="amazon.nova-lite-v1:0",
    messages=[{"role": "user", "content": [{"text": "Where is my parcel?"}]}])
"""


def exported(proxy: ProxyProcess) -> dict[str, str]:
    """The variables that the page exports."""
    (exports,) = [block for block in blocks("docs/proxy.md", "sh") if "export " in block]
    return dict(re.findall(r"^export (\w+)=(\S+)$", here(exports, proxy), re.M))


def test_the_variables_lead_javascript_that_nobody_changed_through_the_proxy(
    proxy: ProxyProcess, tmp_path: Path
) -> None:
    programs = [
        re.sub(r'\{ baseURL: "[^"]*" \}|^ *endpoint: .*\n', "", program, flags=re.M)
        for program in blocks("docs/proxy.md", "js")
    ]

    assert not [program for program in programs if ADDRESS in program]
    run_javascript(proxy, tmp_path, *programs, **exported(proxy))


def test_the_variables_lead_programs_that_nobody_changed_through_the_proxy(
    proxy: ProxyProcess,
) -> None:
    routes = ("openai", "anthropic", "gemini", "bedrock")
    variables = exported(proxy)
    before = [answered(proxy, route) for route in routes]

    words = (sys.executable, "-W", "ignore", "-c", UNCHANGED)
    run(proxy, *words, cwd=proxy.folder, **variables)

    assert len(variables) == 4
    assert [answered(proxy, route) for route in routes] == [count + 1 for count in before]


def test_the_line_for_curl_names_trace_and_span(proxy: ProxyProcess) -> None:
    (line,) = [block for block in blocks("docs/proxy.md", "sh") if "/v1/chat" in block]

    said = run(proxy, "sh", "-c", here(line, proxy))

    assert re.search(r"^x-tracequill-trace-id: [0-9a-f]{32}\r?$", said, re.M)
    assert '"content":' in said


def test_the_line_for_metrics_prints_them(proxy: ProxyProcess) -> None:
    (line,) = [block for block in blocks("docs/proxy.md", "sh") if "/metrics" in block]

    assert "tracequill_proxy_requests_total" in run(proxy, "sh", "-c", here(line, proxy))


def test_the_line_that_starts_a_signing_proxy_starts_one(tmp_path: Path) -> None:
    text = (ROOT / "docs/proxy.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^TRACEQUILL_PROXY_SIGN=\S+ tracequill proxy$", text, re.M)
    process = ProxyProcess(tmp_path, KEYS)
    words = dict([line.split()[0].split("=")])
    process.variables |= words
    process.start()
    code = process.stop()

    assert words["TRACEQUILL_PROXY_SIGN"].split(",") == ["bedrock", "bedrock-agent", "sagemaker"]
    assert code == 0


def test_the_configurations_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs/proxy.md").read_text(encoding="utf-8")
    for example in re.findall(r"^```yaml\n(.*?)^```$", text, re.M | re.S):
        (tmp_path / "tracequill.yaml").write_text(example)
        monkeypatch.setenv("TRACEQUILL_CONFIG", str(tmp_path / "tracequill.yaml"))

        assert RouteTable(load_settings().routes).names


CALLS = {
    "openai": "client.chat.completions.create(model='gpt-4o-mini',"
    " messages=[{'role': 'user', 'content': 'Where is my parcel?'}])",
    "bedrock": "client.converse(modelId='amazon.nova-lite-v1:0',"
    " messages=[{'role': 'user', 'content': [{'text': 'Where is my parcel?'}]}])",
}
CHANGED = [
    (re.findall(rf"{ADDRESS}/([a-z-]+)", block)[0], block)
    for block in blocks("README.md", "python")
]


@pytest.mark.parametrize(("route", "block"), CHANGED, ids=[route for route, _ in CHANGED])
def test_the_client_that_the_readme_makes_is_all_there_is_to_change(
    proxy: ProxyProcess, route: str, block: str
) -> None:
    before = answered(proxy, route)

    # "The client needs none, only a region": the page's block has the region.
    withheld = [f"{name}=" for name in KEYS if name.startswith("AWS_")]
    program = f"import openai\n{here(block, proxy)}\n{CALLS[route]}"
    run(proxy, "env", *withheld, sys.executable, "-c", program)

    assert answered(proxy, route) == before + 1


def test_the_readme_shows_the_changed_line_for_openai_and_for_bedrock() -> None:
    assert [route for route, _ in CHANGED] == ["openai", "bedrock"]


def test_what_the_readme_shows_in_other_languages_stands_on_the_page_whose_lines_are_run() -> None:
    page = "".join(blocks("docs/proxy.md", "js", "sh")).splitlines()
    shown = "".join(blocks("README.md", "js", "sh")).splitlines()

    assert not [line for line in shown if ADDRESS in line and line not in page]
