"""The limits on several recordings together; those on one are tested with real recordings."""

from agent.reference import MAX_POSITIONS, positions
from agent.voices.checks import check_together

WORDS = "I like the morning best, when the kitchen is quiet."


def test_what_csm_can_hold_goes_without_saying():
    assert check_together([(12.0, WORDS), (12.0, WORDS)]) is None


def test_what_it_cannot_hold_is_said_with_its_length():
    references = [(14.0, WORDS), (14.0, WORDS), (14.0, WORDS)]
    found = check_together(references)
    assert found is not None
    assert found.grade == "refused"
    assert found.sentence.startswith("Together they last 42 s and take about")


def test_the_bound_is_the_one_that_a_persona_file_has():
    last_s = next(s / 10 for s in range(500) if positions(s / 10, WORDS) > MAX_POSITIONS)
    assert check_together([(last_s - 0.1, WORDS)]) is None
    assert check_together([(last_s, WORDS)]) is not None
