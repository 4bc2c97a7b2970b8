"""Every setting of the servers, in one table: flags, else ``TRACEQUILL_*``, else
``tracequill.yaml``, else Phoenix's own variable, else the default.

``import tracequill`` does not load this module: it needs the ``collector`` extra.
``docs/settings.md`` is tested against the table.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from tracequill._config import is_loopback
from tracequill._sources import (
    ENV_PREFIX,
    FILE_ONLY,
    UPSTREAM_PREFIX,
    dotted,
    from_environment,
    from_file,
    from_phoenix,
    suggestion,
)
from tracequill.errors import SettingsError


class RouteSettings(BaseModel):
    """One entry of ``routes:``. Each field is one row of ``docs/settings.md``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    upstream: str | None = Field(
        default=None,
        description="Base URL; `{region}` stands for the second segment of the path. A built-in "
        "route has one.",
    )
    vendor: str | None = Field(
        default=None,
        description="Whose wire format it speaks: `openai`, `bedrock`, `anthropic`, … "
        "Unset: the route's name.",
    )
    public: bool | None = Field(
        default=None,
        description="Whether only a public address may be connected to. Unset: yes for a vendor "
        "on the internet whose upstream is the built-in one, else no.",
    )
    sign: Literal["aws"] | None = Field(
        default=None,
        description="`aws`: the proxy signs each call (SigV4) with its own AWS credentials, in "
        "place of what the client sent. Only while `host` is loopback.",
    )
    sign_service: str | None = Field(
        default=None,
        description="The service to sign for. Unset: `bedrock` for the vendors `bedrock` and "
        "`bedrock-agent`, `sagemaker` for `sagemaker`.",
    )
    sign_region: str | None = Field(
        default=None, description="The region to sign for. Unset: that of the path."
    )


class ExporterSettings(BaseModel):
    """One entry of ``exporters:``. Each field is one row of ``docs/exporters.md``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str = Field(
        description="Base URL. By HTTP, `/v1/traces` is added where it is missing. By gRPC it is "
        "a scheme, a host and a port (4317, or 443 with https)."
    )
    protocol: Literal["http/protobuf", "grpc"] = Field(
        "http/protobuf", description="`http/protobuf` or `grpc`."
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        repr=False,
        description="Sent with each request. `${env:NAME}` stands for a variable, so that keys "
        "stay out of the file.",
    )
    compression: Literal["gzip", "none"] = Field("gzip", description="`gzip` or `none`.")
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        30.0, description="How long one request may take, from connecting to the answer."
    )
    keep: bool = Field(
        False,
        description="Whether the queue keeps what this backend has not got although it needs the "
        "room. Senders then get a retryable answer when the queue is full.",
    )

    @field_validator("endpoint")
    @classmethod
    def _is_url(cls, value: str) -> str:
        return _check_url(value)


def _check_url(value: str) -> str:
    if not re.match(r"https?://[^/\s]+", value):
        raise ValueError("must be a URL that begins with http:// or https://")
    return value.rstrip("/")


def _check_postgres_url(value: str) -> str:
    """Give the plain form, whatever driver the scheme names."""
    scheme, separator, rest = value.partition("://")
    if not separator or scheme.split("+")[0] not in ("postgresql", "postgres"):
        raise ValueError(
            f"begins with {scheme.split(':')[0]!r}, but Tracequill needs Postgres: "
            "postgresql://user:password@host:port/database"
        )
    if not re.match(r"[^/?]*/[^/?]", rest):
        raise ValueError("names no database: postgresql://user:password@host:port/database")
    return f"postgresql://{rest}"


def _split(value: Any) -> Any:
    """Read a list from a variable: words between commas."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


Words = Annotated[list[str], BeforeValidator(_split)]
Port = Annotated[int, Field(ge=1, le=65535)]
HttpUrl = Annotated[str, AfterValidator(_check_url)]
PostgresUrl = Annotated[str, AfterValidator(_check_postgres_url)]
Share = Annotated[float, Field(ge=0, le=1)]
Limit = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class Settings(BaseModel):
    """What an operator can set. Each field is one row of ``docs/settings.md``.

    A field ``queue_keep_hours`` is ``TRACEQUILL_QUEUE_KEEP_HOURS`` in the environment and
    ``queue: {keep_hours: …}`` or ``queue_keep_hours: …`` in ``tracequill.yaml``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="The address every server listens on.")
    insecure: bool = Field(
        False,
        description="Allow a `host` beyond loopback although nobody is asked to sign in.",
    )
    phoenix_port: Port = Field(6006, description="Phoenix: pages and API.")
    otlp_grpc_port: Port = Field(4317, description="Collector: OTLP/gRPC.")
    otlp_http_port: Port = Field(4318, description="Collector: OTLP/HTTP.")
    proxy_port: Port = Field(4319, description="Proxy: LLM calls.")
    data_dir: Path = Field(
        Path(".tracequill"),
        description="Queues, dead letters and the embedded Postgres. Created with mode 0700.",
    )
    database_url: PostgresUrl | None = Field(
        None,
        repr=False,
        description="A Postgres of yours, `postgresql://user:password@host:port/database`. "
        "Unset: `tracequill up` runs the embedded one.",
    )
    database_schema: str | None = Field(
        None, description="The Postgres schema of Phoenix's tables. Unset: `public`."
    )
    postgres_user: str | None = Field(
        None,
        description="The operating system user that runs the embedded Postgres when "
        "`tracequill up` runs as root. Unset: `postgres` where it exists, else `nobody`.",
    )
    collector_url: HttpUrl | None = Field(
        None,
        description="Where the recorder and Phoenix send spans. "
        "Unset: `http://<host>:<otlp_http_port>`.",
    )
    phoenix_url: HttpUrl | None = Field(
        None,
        description="Where commands find Phoenix. Unset: `http://<host>:<phoenix_port>`.",
    )
    phoenix_api_key: str | None = Field(
        None,
        repr=False,
        description="The Phoenix API key that commands use when Phoenix asks for one.",
    )
    request_max_bytes: Annotated[int, Field(ge=1024)] = Field(
        64 * 1024 * 1024,
        description="The largest OTLP request accepted, in bytes, after decompression.",
    )
    queue_max_bytes: Annotated[int, Field(ge=1024 * 1024)] = Field(
        8 * 1024**3,
        description="The byte cap of each queue; past it senders get a retryable answer.",
    )
    queue_keep_hours: Annotated[float, Field(ge=0)] = Field(
        24.0, description="How long what was exported stays in the queue, for `replay`."
    )
    redaction_detectors: Words = Field(
        default_factory=list,
        description="What is looked for in every text and replaced before it is stored: "
        "`api_key`, `card`, `email`, `iban`, `phone`. See [redaction](redaction.md).",
    )
    redaction_phone_regions: Words = Field(
        default_factory=list,
        description="Countries (`DE`, `US`) whose telephone numbers are found without a leading +.",
    )
    redaction_keys: Words = Field(
        default_factory=list,
        description="Attributes, and keys within JSON, whose value is replaced as a whole: "
        "`password`, `user.*`.",
    )
    redaction_patterns: dict[str, str] = Field(
        default_factory=dict,
        description="Regular expressions (RE2) whose finds are replaced, by name.",
    )
    limits_attribute_max_bytes: Limit = Field(
        0, description="The longest text of one attribute, in bytes, at least 128. 0: no limit."
    )
    limits_attributes_max: Limit = Field(
        0, description="The most attributes of one span. 0: no limit."
    )
    limits_events_max: Limit = Field(0, description="The most events of one span. 0: no limit.")
    limits_span_max_bytes: Limit = Field(
        0,
        description="The largest span, in bytes, at least 4096; its longest texts are cut. "
        "0: no limit.",
    )
    exporters: dict[Name, ExporterSettings] = Field(
        default_factory=dict,
        description="OTLP backends that get every span as well, by name: "
        "`{endpoint: URL, protocol: http/protobuf, headers: {…}}`. "
        "See [more exporters](exporters.md).",
    )
    proxy_body_max_bytes: Annotated[int, Field(ge=1024)] = Field(
        32 * 1024 * 1024,
        description="How much of a body the proxy records, in bytes; all of it is forwarded.",
    )
    proxy_on_queue_full: Literal["forward", "refuse"] = Field(
        "forward",
        description="What the proxy does with a call that it cannot record: `forward` it and "
        "count it, or `refuse` it with 503.",
    )
    proxy_project_name: str = Field(
        "default", description="The project of recorded calls that name none."
    )
    proxy_sign: Words = Field(
        default_factory=list,
        description="Routes whose calls the proxy signs with its own AWS credentials: `bedrock`, "
        "`bedrock-agent`, `sagemaker`. The same as `sign: aws` in their entries of `routes`.",
    )
    routes: dict[str, RouteSettings] = Field(
        default_factory=dict,
        description="More routes of the proxy, and changes to the built-in ones, by name: "
        "`{upstream: URL, vendor: NAME, …}`. See [routes](#routes).",
    )
    mock_latency_seconds: Annotated[float, Field(ge=0, le=600)] = Field(
        0.0, description="Mock upstream: time before the first byte of an answer."
    )
    mock_chunk_seconds: Annotated[float, Field(ge=0, le=60)] = Field(
        0.0, description="Mock upstream: time between two chunks of a stream."
    )
    mock_error_share: Share = Field(
        0.0, description="Mock upstream: the share of calls, 0 to 1, answered with an error."
    )
    mock_requests_per_second: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Mock upstream: past this rate calls get 429. 0: no limit."
    )
    annotation_keep_days: Annotated[float, Field(ge=0, le=36_500)] = Field(
        0.0,
        description="How long our copies of answers, and of what they judged, stay, in days, in "
        "annotation queues that do not say it themselves. Phoenix's annotations stay. "
        "0: for ever.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="The least level that is logged."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Log lines for a person, or one JSON object each."
    )

    upstreams: dict[str, str] = Field(
        default_factory=dict,
        description="The upstream of a route, replaced, for all regions: "
        "`TRACEQUILL_UPSTREAM_<ROUTE>`, hyphens as underscores.",
    )

    # --- what follows from the fields ---------------------------------------------------

    @property
    def collector_base_url(self) -> str:
        """Base URL of the collector's OTLP/HTTP receiver."""
        return self.collector_url or f"http://{_url_host(self.host)}:{self.otlp_http_port}"

    @property
    def phoenix_base_url(self) -> str:
        """Base URL of the running Phoenix, for commands."""
        return self.phoenix_url or f"http://{_url_host(self.host)}:{self.phoenix_port}"

    @property
    def collector_queue_dir(self) -> Path:
        """The queue between receiver and exporter."""
        return self.data_dir / "collector" / "queue"

    @property
    def proxy_queue_dir(self) -> Path:
        """The queue between proxy and recorder."""
        return self.data_dir / "proxy" / "queue"

    @property
    def replay_dir(self) -> Path:
        """What is to be sent again."""
        return self.data_dir / "collector" / "replay"

    @property
    def dead_letters_dir(self) -> Path:
        """What could not be interpreted, kept whole."""
        return self.data_dir / "dead_letters"

    @property
    def postgres_dir(self) -> Path:
        """The data directory of the embedded Postgres."""
        return self.data_dir / "postgres"

    @property
    def is_loopback(self) -> bool:
        """Whether ``host`` can be reached from this machine only."""
        return is_loopback(self.host)

    @property
    def authentication(self) -> bool:
        """Whether Phoenix asks who you are (``PHOENIX_ENABLE_AUTH``)."""
        return os.environ.get("PHOENIX_ENABLE_AUTH", "").strip().lower() in ("1", "true")

    def to_environment(self) -> dict[str, str]:
        """Give the ``TRACEQUILL_*`` variables that make a child process read these settings."""
        environment: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None or name == "upstreams" or name in FILE_ONLY:
                continue
            if isinstance(value, Path):
                value = value.absolute()
            text = ",".join(value) if isinstance(value, list) else str(value)
            environment[ENV_PREFIX + name.upper()] = text
        for route, url in self.upstreams.items():
            environment[UPSTREAM_PREFIX + route.upper().replace("-", "_")] = url
        if config := os.environ.get("TRACEQUILL_CONFIG"):
            environment["TRACEQUILL_CONFIG"] = str(Path(config).absolute())
        return environment


def load_settings(**flags: Any) -> Settings:
    """Read all sources and give the settings; a flag that is None was not given.

    Raises SettingsError for an unknown key, a bad value, a file that is not YAML, and an
    address beyond loopback that nobody guards.
    """
    fields = Settings.model_fields.keys()
    values: dict[str, Any] = {}
    values.update(from_phoenix())
    values.update(from_file(fields))
    values.update(from_environment(fields))
    values.update({key: value for key, value in flags.items() if value is not None})
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None
    _check_address(settings)
    return settings


def mask_url(url: str) -> str:
    """Give *url* without its password, for messages and logs."""
    url = re.sub(r"(://[^/?#:@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&][a-z]*password=)[^&]*", r"\1***", url)


def _check_address(settings: Settings) -> None:
    if settings.is_loopback:
        return
    if settings.authentication:
        raise SettingsError(
            f"host is {settings.host!r}, but receivers and proxy do not check Phoenix's keys yet, "
            "so with authentication on everything listens on loopback only. Set host to 127.0.0.1 "
            "and put a reverse proxy in front of Phoenix's port."
        )
    if not settings.insecure:
        raise SettingsError(
            f"host is {settings.host!r}, which other machines can reach, and nobody is asked to "
            "sign in. Set host to 127.0.0.1, or give --insecure if the network is yours alone."
        )


def _sentence(error: ValidationError) -> str:
    found = error.errors()
    # A misspelt key is what somebody wrote; the one that it leaves missing only follows from it.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    name = ".".join(str(part) for part in first["loc"])
    top = str(first["loc"][0]) if first["loc"] else ""
    # What stands in these may be a key, or hold one; a misspelt name does not change that.
    secret = top in ("phoenix_api_key", "database_url", "exporters", "routes", "upstreams")
    shown = ":" if secret else f" is {first['input']!r}:"
    reason = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    kind = ExporterSettings if top == "exporters" else RouteSettings
    if first["type"] in ("dict_type", "model_type"):
        below = "names" if len(first["loc"]) == 1 else ", ".join(kind.model_fields)
        reason = f"it needs keys below it: {below}"
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        return f"unknown key {name!r}.{suggestion(key, list(kind.model_fields))}"
    if top in FILE_ONLY:
        return f"{dotted(name)}{shown} {reason}. Correct it in tracequill.yaml."
    variable = f"{ENV_PREFIX}{top.upper()}"
    return f"{dotted(name)}{shown} {reason}. Set it by flag, {variable} or tracequill.yaml."


def _url_host(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
