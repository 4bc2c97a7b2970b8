"""Every error of the collector is permanent or retryable; that is decided once, where it is raised.

CollectorError
├── PermanentError      the same input fails every time: dead letter, or a 4xx to the sender
└── RetryableError      the same input may pass later: keep it, or a 503 to the sender
    └── QueueFullError  the queue has reached its byte cap

StartError stands apart: a process cannot start, and a person must act.
"""

from tracequill.errors import CommandError


class CollectorError(Exception):
    """Something in the collector failed; see the two kinds below."""


class PermanentError(CollectorError):
    """The same input will fail in the same way for ever."""


class RetryableError(CollectorError):
    """The same input may pass later.

    ``delay_seconds`` is what the sender is asked to wait: 1 to 3, because the Python OTLP
    exporters give up when a delay exceeds what is left of their 10 s.
    """

    def __init__(self, message: str, delay_seconds: int = 1) -> None:
        super().__init__(message)
        self.delay_seconds = delay_seconds


class QueueFullError(RetryableError):
    """The queue has reached its byte cap; nothing more is accepted until the reader catches up."""


class StartError(CommandError):
    """A process cannot start; the message says what, the value, and what to do."""
