"""Pages of other sites may not use the server."""

import pytest
from starlette.datastructures import Headers

from agent.origins import Origins


def headers(host, origin=None):
    return Headers({"host": host, **({"origin": origin} if origin else {})})


@pytest.mark.parametrize(
    ("listen", "allowed", "host", "origin", "served"),
    [
        ("127.0.0.1", (), "localhost:7860", "http://localhost:7860", True),
        ("127.0.0.1", (), "127.0.0.1:7860", None, True),
        ("127.0.0.1", (), "[::1]:7860", "http://[::1]:7860", True),
        ("127.0.0.1", (), "localhost:7860", "https://evil.example", False),
        ("127.0.0.1", (), "localhost:7860", "null", False),
        # DNS rebinding: origin and host agree, but neither is ours.
        ("127.0.0.1", (), "evil.example:7860", "http://evil.example:7860", False),
        ("127.0.0.1", (), "evil.example:7860", None, False),
        ("127.0.0.1", (), "127.0.0.1.evil.com", "http://127.0.0.1.evil.com", False),
        ("127.0.0.1", (), "[::1", None, False),
        ("127.0.0.1", (), "127.8.8.8:7860", None, True),
        # A proxy on this machine forwards the public name.
        ("127.0.0.1", ("https://talk.example",), "talk.example", "https://talk.example", True),
        ("0.0.0.0", (), "agent.lan:7860", "http://agent.lan:7860", True),
        ("0.0.0.0", (), "agent.lan:7860", "http://other.lan", False),
        ("0.0.0.0", ("http://other.lan",), "agent.lan:7860", "http://other.lan", True),
        ("127.0.0.1", ("*",), "x", "https://anything.example", True),
    ],
)
def test_who_is_served(listen, allowed, host, origin, served):
    assert Origins(listen, allowed).allow(headers(host, origin)) is served
