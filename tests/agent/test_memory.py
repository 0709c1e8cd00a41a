import gc
import sys
import weakref

import numpy as np
import psutil
import pytest

from agent import memory


class Node:
    """One end of a cycle that only the collector can free."""

    def __init__(self) -> None:
        self.me = self


async def test_cycles_of_an_ended_call_are_collected():
    gc.disable()
    try:
        left = weakref.ref(Node())
        assert left() is not None
        await memory.give_back()
        assert left() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
async def test_freed_pages_go_back_to_the_system():
    # Small enough for malloc's arenas, and each second one kept, so that nothing is freed on top.
    pieces = [np.ones(2000) for _ in range(10_000)]
    kept = pieces[1::2]
    resident = psutil.Process().memory_info().rss
    del pieces[::2]
    await memory.give_back()
    assert resident - psutil.Process().memory_info().rss > 40e6
    assert len(kept) == 5000
