"""Which web pages may use the server: its own, and those that the settings name."""

import contextlib
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    # A name such as 127.0.0.1.example.org is anybody's, so only an address counts.
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class Origins:
    """Refuses pages of other sites (cross-site requests, DNS rebinding); takes non-browsers."""

    def __init__(self, listen_host: str, allowed: tuple[str, ...]) -> None:
        """`allowed` holds origins such as https://talk.example.org, or '*' for all."""
        self._all = "*" in allowed
        self._allowed = {origin.rstrip("/").lower() for origin in allowed}
        self._allowed_hosts = {urlsplit(origin).hostname for origin in self._allowed}
        self._loopback_only = is_loopback(listen_host)

    def allow(self, headers: Headers) -> bool:
        """Whether a request with these headers may be served; a malformed one may not."""
        try:
            return self._allow(headers)
        except ValueError:
            return False

    def _allow(self, headers: Headers) -> bool:
        if self._all:
            return True
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        # A foreign name that resolves to this machine is DNS rebinding: its pages would count as
        # ours by origin alone.
        if self._loopback_only and not is_loopback(name) and name not in self._allowed_hosts:
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        return origin.lower() in self._allowed or urlsplit(origin).netloc.lower() == host.lower()
