"""Numbers that make sense, or one sentence that says which do."""

import math
from numbers import Integral
from typing import Any

from pipecat_csm.errors import OptionError


def check_number(
    name: str, value: Any, kind: type, least: float = -math.inf, most: float = math.inf
) -> None:
    """Raises an `OptionError` that names what was expected.

    Args:
        name: What the number is called where it comes from.
        value: Anything.
        kind: `numbers.Real` or `numbers.Integral`.
        least: The smallest that makes sense.
        most: The largest.
    """
    if isinstance(value, kind) and not isinstance(value, bool) and least <= value <= most:
        return
    number = "a whole number" if kind is Integral else "a number"
    if least == -math.inf:
        bound = ""
    elif most == math.inf:
        bound = f" from {least} on"
    else:
        bound = f" from {least} to {most:,}"
    raise OptionError(f"{name} is {number}{bound}, not {value!r}.")
