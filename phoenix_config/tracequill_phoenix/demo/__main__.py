"""``python -m tracequill_phoenix.demo``: settings from the environment; exit code 0, or 1."""

from __future__ import annotations

import sys

import openai
from botocore.exceptions import BotoCoreError
from rich.console import Console

from tracequill.errors import CommandError
from tracequill.settings import load_settings
from tracequill_phoenix.demo.calls import clean_environment, proxy_url
from tracequill_phoenix.demo.run import run_demo


def main() -> int:
    """Run the demo; say what is missing."""
    console = Console()
    try:
        settings = load_settings()
        clean_environment()
        try:
            problems = run_demo(settings, console)
        except (openai.OpenAIError, BotoCoreError) as error:
            raise CommandError(
                f"a call through the proxy at {proxy_url(settings)} failed: "
                f"{type(error).__name__}. Start everything with 'tracequill up'."
            ) from error
    except CommandError as error:
        sys.stderr.write(f"tracequill demo: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    for problem in problems:
        console.print(f"missing: {problem}", style="red", highlight=False, soft_wrap=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
