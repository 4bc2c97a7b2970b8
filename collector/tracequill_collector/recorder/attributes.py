"""The span attributes that Tracequill adds to OpenInference's, by name; a fixed set.

Everything a client or an upstream can choose is a value, never a part of a name.
"""

from __future__ import annotations

PREFIX = "tracequill."

ROUTE = "tracequill.route"
"""The route's name: openai, bedrock, ..."""
VENDOR = "tracequill.vendor"
"""Whose wire format crossed."""
REGION = "tracequill.region"
METHOD = "tracequill.http.method"
PATH = "tracequill.http.path"
"""The path at the upstream, with the query, keys removed."""
STATUS_CODE = "tracequill.http.status_code"
"""The upstream's HTTP status; absent when there was none."""
TIME_TO_FIRST_TOKEN_MS = "tracequill.time_to_first_token_ms"
"""From the request's arrival to the first byte of the response body."""
CHUNK_COUNT = "tracequill.chunk_count"
"""How many pieces the response body came in."""
UPSTREAM_REQUEST_ID = "tracequill.upstream_request_id"
RATE_LIMITS = "tracequill.rate_limits"
"""The rate-limit headers of the response: one JSON object of names and values."""
INFERENCE_COMPONENT = "tracequill.inference_component"
"""The part of a SageMaker endpoint that was asked."""
REQUEST_BYTES = "tracequill.request.bytes"
RESPONSE_BYTES = "tracequill.response.bytes"
REQUEST_CUT = "tracequill.request.cut"
"""True when only the beginning of the request body was recorded."""
RESPONSE_CUT = "tracequill.response.cut"
"""True when only the beginning of the response body was recorded."""
REQUEST_CONTENT_TYPE = "tracequill.request.content_type"
RESPONSE_CONTENT_TYPE = "tracequill.response.content_type"
END = "tracequill.end"
"""How the exchange ended, when not completely: client_disconnected, upstream_cut, ..."""
PROBLEM = "tracequill.problem"
"""What could not be interpreted, in one sentence without content."""

PROJECT_NAME = "openinference.project.name"
"""Resource attribute that Phoenix files a span by."""
