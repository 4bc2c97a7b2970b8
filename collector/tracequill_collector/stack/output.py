"""What a person sees of running processes: our sentences, and the lines that need attention.

Every line of a child goes to ``<data_dir>/logs/<name>.log``; the terminal shows errors, once
everything takes work (until then processes wait for one another) warnings and that what they told
of is over, and everything with ``--verbose``.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

_ERROR = re.compile(r"\b(ERROR|CRITICAL|FATAL|Traceback)\b")
_WARNING = re.compile(r"\bWARN(ING)?\b")
# How the exporter, its backends and the recorder say that they no longer wait.
_OVER = re.compile(r"\b(stored|sent on|recorded) again\b")
_MAX_LOG_BYTES = 10 * 1024 * 1024
_STYLES = ("cyan", "magenta", "blue", "green", "yellow")


class Terminal:
    """Writes to standard output; a closed terminal never stops the stack."""

    def __init__(self, log_dir: Path, verbose: bool) -> None:
        self._console = Console(soft_wrap=True, highlight=False)
        self._log_dir = log_dir
        self._verbose = verbose
        self._files: dict[str, TextIO] = {}
        self._show_warnings = False
        log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    def say(self, text: str) -> None:
        """Show one sentence of our own."""
        self._print(Text(time.strftime("%H:%M:%S "), style="dim").append(text, style="default"))

    def plain(self, text: str) -> None:
        """Show *text* as it is: addresses, and the line ``ready``."""
        self._print(Text(text))

    def show_warnings(self) -> None:
        """From now on, show warnings of children too."""
        self._show_warnings = True

    def line(self, name: str, text: str) -> None:
        """Keep one line of a child, and show it where it needs attention."""
        self._keep(name, text)
        warning = self._show_warnings and (_WARNING.search(text) or _OVER.search(text))
        if self._verbose or warning or _ERROR.search(text):
            style = _STYLES[sum(map(ord, name)) % len(_STYLES)]
            self._print(Text(f"{name:>9} | ", style=style).append(text, style="default"))

    def close(self) -> None:
        """Close the log files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _print(self, text: Text) -> None:
        try:
            self._console.print(text)
            sys.stdout.flush()
        except (BrokenPipeError, OSError):
            pass

    def _keep(self, name: str, text: str) -> None:
        try:
            file = self._files.get(name)
            if file is None or file.tell() > _MAX_LOG_BYTES:
                file = self._files[name] = self._open(name, file)
            file.write(f"{text}\n")
            file.flush()
        except OSError:  # a full disk stops no process; the queue's own errors tell
            pass

    def _open(self, name: str, previous: TextIO | None) -> TextIO:
        path = self._log_dir / f"{name}.log"
        if previous is not None:
            previous.close()
        if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        file = path.open("a", encoding="utf-8")
        file.seek(0, 2)
        return file
