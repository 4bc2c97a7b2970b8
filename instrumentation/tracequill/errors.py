"""What a command of ours answers when it cannot do what it was asked."""


class CommandError(Exception):
    """A command failed: the message says what happened, the value, and what to do.

    ``exit_code`` is 1 for failed and 2 for wrong usage.
    """

    exit_code = 1


class UsageError(CommandError):
    """The command was called in a wrong way: an unknown key, name or value."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is wrong; the message says which, its value, and what to do."""
