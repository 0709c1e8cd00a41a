"""Waits for what a page or a call will come to."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], within_s: float = 30) -> None:
    for _ in range(int(within_s / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("waited in vain")
