"""Keys in text: what looks like one is replaced. Error messages of vendors quote keys.

A pattern cannot know every key; the proxy removes headers and query values by name before an
exchange is kept, and this is the net below it.
"""

from __future__ import annotations

import re

REPLACEMENT = "[key removed]"

_KEY = re.compile(
    r"""
      (?<![A-Za-z0-9])
      (?:
          (?:sk|pk|rk|ek|gsk|xai|tgp|hf|nvapi|r8|pplx)[-_][A-Za-z0-9_\-*]{6,}       # vendors' keys
        | AIza[A-Za-z0-9_\-*]{10,}                                          # Google
        | (?:AKIA|ASIA|ABSK)[A-Za-z0-9+/=*]{12,}                            # AWS
        | eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?   # JSON web token
        | [A-Za-z0-9_\-]{0,12}\*{4,}[A-Za-z0-9_\-*]{0,12}                   # a half-masked key
      )
    | (?<=[Bb]earer\ )[A-Za-z0-9_\-.=+/~]{8,}
    """,
    re.VERBOSE,
)


def remove_keys(text: str) -> str:
    """Give *text* with everything that looks like a key replaced."""
    return _KEY.sub(REPLACEMENT, text)
