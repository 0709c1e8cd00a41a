"""How often something that fails is started again."""

from agent.restarts import RestartLimit


def test_pauses_grow_and_end():
    limit = RestartLimit()
    assert [limit.next_pause_s(now) for now in range(7)] == [1, 2, 4, 8, 16, None, None]


def test_forgets_what_is_long_ago():
    limit = RestartLimit(restarts=2, within_s=600)
    assert [limit.next_pause_s(now) for now in (0, 500, 599, 600, 601)] == [1, 2, None, 2, None]
