"""nginx twice: as the upstream that answers every call with one fixed completion, and as a proxy.

As a proxy it forwards and records nothing: the limit of what any gateway can do here.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from bench.ingest.servers import HOST, BenchError

MODEL, PACED_MODEL = "mock-model", "paced-model"
"""The second is answered by the upstream that streams; LiteLLM tells them apart by it."""
_ANSWER_SENTENCES = 9

_CONFIGURATION = """\
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 1m;
    keepalive_requests 100000000;
    keepalive_timeout 300;
    tcp_nodelay on;
{servers}
}}
"""
_MOCK = """\
    server {{
        listen {host}:{port} backlog=4096;
        location / {{
            default_type application/json;
            add_header x-request-id req_5f3a9c0b7d2e4f16;
            return 200 '{answer}';
        }}
    }}
"""
_PROXY = """\
    upstream {name} {{
        server {host}:{upstream_port};
        keepalive 1024;
        keepalive_requests 100000000;
    }}
    server {{
        listen {host}:{port} backlog=4096;
        location / {{
            proxy_pass http://{name};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering {buffering};
        }}
    }}
"""


def find_nginx() -> str:
    """Give the path of nginx; BenchError when it is not installed."""
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
    if (found := shutil.which("nginx", path=path)) is None:
        raise BenchError("nginx is not installed. Run: sh bench/proxy/peers/tools.sh")
    return found


def mock_configuration(folder: Path, port: int) -> Path:
    """Write the configuration of the upstream, and give its path."""
    answer = json.dumps(answer_json(), separators=(",", ":"))
    # nginx' quotes end at an apostrophe, and its variables begin with a dollar.
    assert "'" not in answer and "$" not in answer
    return _write(folder, _MOCK.format(host=HOST, port=port, answer=answer))


def proxy_configuration(
    folder: Path, *, port: int, upstream_port: int, stream_port: int, paced_port: int
) -> Path:
    """Write the configuration of the proxy; whole answers and streams have a port each."""
    servers = _PROXY.format(
        name="mock", host=HOST, port=port, upstream_port=upstream_port, buffering="on"
    )
    servers += _PROXY.format(
        name="paced", host=HOST, port=stream_port, upstream_port=paced_port, buffering="off"
    )
    return _write(folder, servers)


def request_json(*, stream: bool) -> dict[str, object]:
    """Give the call that is sent: a short conversation of about a kilobyte."""
    context = "You are the assistant of a shop for garden tools. " * 8
    question = "My order 20481 has not arrived yet, and it was promised for last Tuesday. "
    return {
        "model": PACED_MODEL if stream else MODEL,
        "messages": [
            {"role": "system", "content": context.strip()},
            {"role": "user", "content": question * 3 + "What can you do for me?"},
        ],
        "temperature": 0.2,
        "max_tokens": 256,
        **({"stream": True} if stream else {}),
    }


def answer_json() -> dict[str, object]:
    """Give the answer of the upstream: a chat completion of about a kilobyte."""
    text = "Order 20481 left our warehouse on Monday and is with the carrier now. "
    return {
        "id": "chatcmpl-B5mock",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": (text * _ANSWER_SENTENCES).strip(),
                    "refusal": None,
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 161, "completion_tokens": 153, "total_tokens": 314},
        "system_fingerprint": "fp_mock",
    }


def _write(folder: Path, servers: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "nginx.conf"
    path.write_text(_CONFIGURATION.format(folder=folder, servers=servers), encoding="utf-8")
    return path
