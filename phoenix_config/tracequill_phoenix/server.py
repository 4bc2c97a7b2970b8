"""``python -m tracequill_phoenix.server``: the forked Phoenix as a process, configured by its
environment alone.

What can fail is tried before Phoenix is loaded, and said in one sentence.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

from tracequill.errors import CommandError
from tracequill.settings import Settings, load_settings
from tracequill_phoenix.environment import phoenix_environment
from tracequill_phoenix.preconditions import check_database, check_port

_CLOUD_IDENTITY = (
    "PHOENIX_POSTGRES_USE_AWS_IAM_AUTH",
    "PHOENIX_POSTGRES_USE_AZURE_MANAGED_IDENTITY",
)
_PARENT_POLL_SECONDS = 1.0

_log = logging.getLogger("tracequill_phoenix.server")  # not "__main__"


def main() -> int:
    """Serve until SIGTERM or SIGINT; return 0, or 1 or 2 after one sentence on standard error."""
    os.umask(0o077)  # what is written holds prompts and answers
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    _stop_with_parent()
    try:
        settings = load_settings()
        _check(settings)
        _serve(settings)
    except CommandError as error:
        sys.stderr.write(f"tracequill phoenix: {error}\n")
        return error.exit_code
    except SystemExit as stop:  # ours, or uvicorn's, which has said why
        return 1 if stop.code else 0
    return 0


def _check(settings: Settings) -> None:
    """Try what can be tried cheaply, and set the environment that Phoenix reads."""
    variables = phoenix_environment(settings, os.environ)
    check_port(settings.host, settings.phoenix_port)
    if not any(os.environ.get(name, "").strip() for name in _CLOUD_IDENTITY):
        asyncio.run(check_database(variables["PHOENIX_SQL_DATABASE_URL"]))
    _make_data_dir(settings)
    os.environ.update(variables)


def _make_data_dir(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"the data directory {str(settings.data_dir)!r} cannot be made: {error.strerror}. "
            "Choose another with --data-dir or TRACEQUILL_DATA_DIR."
        ) from None


def _serve(settings: Settings) -> None:
    assert settings.database_url is not None
    started = time.monotonic()
    # Here and not above: loading Phoenix takes 17 s and reads the environment.
    from phoenix.server.main import main as phoenix_main

    from tracequill_phoenix.app import install
    from tracequill_phoenix.prepare import prepare_database

    _configure_logging(settings)
    _log.info("Phoenix is loaded after %.1f s", time.monotonic() - started)
    try:
        if asyncio.run(prepare_database(settings.database_url)):
            os.environ["PHOENIX_DANGEROUSLY_DISABLE_MIGRATIONS"] = "true"  # done, once is enough
        install(settings)
        sys.argv[1:] = ["serve"]
        phoenix_main()
    except ValueError as error:  # how Phoenix refuses a wrong variable
        if settings.log_level == "DEBUG":
            _log.exception("Phoenix did not start")
        raise CommandError(
            f"Phoenix did not start: {str(error).rstrip('.')}. Correct that variable; "
            "TRACEQUILL_LOG_LEVEL=DEBUG shows where it was read."
        ) from error


def _configure_logging(settings: Settings) -> None:
    """Give log lines a way out; Phoenix configures levels, and JSON, but no plain text."""
    logging.getLogger("tracequill_phoenix").setLevel(settings.log_level)
    if os.environ.get("PHOENIX_LOGGING_MODE") != "structured":
        logging.basicConfig(
            stream=sys.stderr,
            level=logging.WARNING,
            format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
            datefmt="%H:%M:%S",
        )


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def _stop_with_parent() -> None:
    """End when the process ends that started us, where the system sends no signal for that."""
    parent = os.environ.get("TRACEQUILL_PARENT_PID", "")
    if parent.isdecimal():
        threading.Thread(target=_watch_parent, args=(int(parent),), daemon=True).start()


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(code: int) -> NoReturn:
    """End at once: Python would free half a gigabyte piece by piece first, which takes 3 s."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
