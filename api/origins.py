"""Which web pages may talk to this API: the one rule for CORS and for sockets.

`https://*.example.com` means any subdomain, at any depth, and not example.com itself. A wildcard stands for host labels
only, so neither `https://evil.com/.example.com` nor `https://evilexample.com` fits.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

_LABELS = r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+"
ANYONE = "*"


class Origins:
    """The allowed origins, as the setting CORS_ORIGIN lists them."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self.anyone = ANYONE in allowed
        self.pattern = "|".join(_pattern(origin.rstrip("/")) for origin in allowed if origin != ANYONE) or r"(?!)"
        self._compiled = re.compile(self.pattern)

    def allows(self, origin: str) -> bool:
        """Tell whether pages of this origin may call."""
        return self.anyone or self._compiled.fullmatch(origin) is not None

    def allows_socket(self, origin: str | None, environ: Mapping[str, Any]) -> bool:
        """Tell whether a page may open a socket: an allowed origin, or a page of this very host.

        A client that is no browser sends no Origin; it proves itself by its token alone, as over REST.
        """
        if origin is None:
            return True
        host = urlsplit(origin).netloc
        return self.allows(origin) or (host != "" and host == environ.get("HTTP_HOST"))


def _pattern(origin: str) -> str:
    return re.escape(origin.lower()).replace(r"://\*\.", "://" + _LABELS)
