"""Kinds of settings that a plain type does not describe."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

# RFC 6454, section 6.2; browsers send names of other scripts in ASCII.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:\d+)?", re.IGNORECASE)
_NO_ORIGIN = (
    "an origin is '*' or scheme://host, as in https://talk.example.org or "
    "http://localhost:8080, without a path"
)


def _check_origin(text: str) -> str:
    try:
        # The port and an IPv6 address have bounds of their own.
        legal = _ORIGIN.fullmatch(text) and (urlsplit(text).port or True)
    except ValueError:
        legal = False
    if text != "*" and not legal:
        raise PydanticCustomError("origin", _NO_ORIGIN)
    return text


Origin = Annotated[str, AfterValidator(_check_origin)]
"""A web origin, scheme://host[:port], or '*' for all."""
