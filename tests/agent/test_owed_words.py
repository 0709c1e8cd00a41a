"""A turn ends on all that the caller said, however slow recognition is."""

import pytest
from pipecat.audio.turn.base_turn_analyzer import BaseTurnAnalyzer, BaseTurnParams, EndOfTurnState
from pipecat.frames.frames import UserStoppedSpeakingFrame, VADUserStartedSpeakingFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat_whisper import NothingSaidFrame

from agent import owed_words
from agent.turn_end import (
    SilenceTurnEnd,
    SmartTurnEnd,
    SpeculatingSilenceTurnEnd,
    SpeculatingSmartTurnEnd,
)
from tests.agent.turn_frames import BEGINS, pauses, words

pytestmark = pytest.mark.parametrize("end", ["silence", "smart", "trying silence", "trying smart"])

SILENCE_S = 0.1
# Long enough for every strategy to end the turn, were it not for the words.
AGES = SleepFrame(4 * SILENCE_S)
GIVES_UP_S = 12 * SILENCE_S


class EveryPauseEnds(BaseTurnAnalyzer):
    """smart-turn without a model: the first silence is the end."""

    def append_audio(self, buffer, is_speech):
        """No sound is needed."""
        return EndOfTurnState.INCOMPLETE

    async def analyze_end_of_turn(self):
        """He has finished."""
        return EndOfTurnState.COMPLETE, None

    @property
    def speech_triggered(self):
        """Whether it has heard speech."""
        return True

    @property
    def params(self):
        """There are none."""
        return BaseTurnParams()

    def clear(self):
        """Nothing to forget."""


ENDS = {
    "silence": lambda: SilenceTurnEnd(user_speech_timeout=SILENCE_S),
    "smart": lambda: SmartTurnEnd(turn_analyzer=EveryPauseEnds()),
    "trying silence": lambda: SpeculatingSilenceTurnEnd(user_speech_timeout=SILENCE_S),
    "trying smart": lambda: SpeculatingSmartTurnEnd(turn_analyzer=EveryPauseEnds()),
}


async def turns(end: str, *frames, gives_up_s: float = 60) -> list[str]:
    """What the conversation holds of a caller's frames: the words of each turn that has ended."""
    context = LLMContext()
    pair = LLMContextAggregatorPair(
        context,
        user_params=LLMUserAggregatorParams(
            user_turn_stop_timeout=gives_up_s,
            user_turn_strategies=UserTurnStrategies(stop=[ENDS[end]()]),
        ),
    )
    down, _ = await run_test(pair.user(), frames_to_send=[*frames, AGES])
    ended = sum(isinstance(frame, UserStoppedSpeakingFrame) for frame in down)
    # A turn that has not ended does so with the conversation.
    return [str(message["content"]) for message in context.messages][:ended]  # type: ignore[index]


async def test_words_that_come_in_time_end_it(end):
    assert await turns(end, BEGINS, pauses(), words("One.")) == ["One."]


async def test_it_waits_for_the_words_of_a_second_sentence(end):
    late = (BEGINS, pauses(), BEGINS, pauses(), words("One.", finalized=False), AGES)
    assert await turns(end, *late) == []
    assert await turns(end, *late, words("Two.")) == ["One. Two."]


async def test_it_waits_where_the_first_words_came_while_he_spoke_on(end):
    first = (BEGINS, pauses(), BEGINS, words("One."), AGES, pauses(), AGES)
    assert await turns(end, *first) == []
    assert await turns(end, *first, words("Two.")) == ["One. Two."]


async def test_a_cough_after_a_sentence_is_not_waited_for(end):
    cough = (BEGINS, pauses(), BEGINS, pauses(), words("One.", finalized=False), AGES)
    assert await turns(end, *cough, NothingSaidFrame(finalized=True)) == ["One."]


async def test_a_cough_between_sentences_ends_nothing(end):
    three = (BEGINS, pauses()) * 3
    cough = (*three, words("One.", finalized=False), NothingSaidFrame(finalized=False), AGES)
    assert await turns(end, *cough) == []
    assert await turns(end, *cough, words("Two.")) == ["One. Two."]


async def test_who_goes_on_speaking_ends_nothing(end):
    on = (BEGINS, pauses(), BEGINS, pauses(), words("One.", finalized=False), AGES, BEGINS)
    still_owed = (*on, words("Two."), AGES)
    assert await turns(end, *still_owed) == []
    assert await turns(end, *still_owed, pauses(), words("Three.")) == ["One. Two. Three."]


async def test_words_that_never_come_end_it_after_a_while(end):
    lost = (BEGINS, pauses(), BEGINS, pauses(), words("One.", finalized=False))
    assert await turns(end, *lost, SleepFrame(GIVES_UP_S), gives_up_s=GIVES_UP_S) == ["One."]


async def test_words_that_were_made_before_he_went_on_say_nothing_of_what_he_says_now(end):
    early = words("One.")
    late = (BEGINS, pauses(), VADUserStartedSpeakingFrame(), pauses(), early, AGES)
    assert await turns(end, *late) == []
    assert await turns(end, *late, words("Two.")) == ["One. Two."]


async def test_noises_do_not_put_it_off_for_ever(end, monkeypatch):
    monkeypatch.setattr(owed_words, "PATIENCE_S", GIVES_UP_S)
    noises = (VADUserStartedSpeakingFrame(), pauses(), AGES, NothingSaidFrame(finalized=False)) * 6
    sentence = (BEGINS, pauses(), *noises[:2], words("One.", finalized=False))
    assert await turns(end, *sentence, *noises) == ["One."]


async def test_who_says_more_is_waited_for_as_long_again(end, monkeypatch):
    monkeypatch.setattr(owed_words, "PATIENCE_S", 5 * AGES.sleep)
    sentence = (VADUserStartedSpeakingFrame(), pauses(), AGES, words("On.", finalized=False))
    told = await turns(end, BEGINS, pauses(), *sentence * 7, AGES, words("End."))
    assert told == [f"{'On. ' * 7}End."]


async def test_late_words_are_a_turn_of_their_own_and_owe_nothing(end):
    lost = (BEGINS, pauses(), BEGINS, pauses(), words("One.", finalized=False))
    after = (SleepFrame(GIVES_UP_S), AGES, words("Two."), AGES)
    assert await turns(end, *lost, *after, gives_up_s=GIVES_UP_S) == ["One.", "Two."]


async def test_what_one_turn_was_owed_the_next_does_not_wait_for(end):
    lost = (BEGINS, pauses(), BEGINS, pauses(), words("One.", finalized=False))
    after = (SleepFrame(GIVES_UP_S), AGES, BEGINS, pauses(), words("Two."))
    assert await turns(end, *lost, *after, gives_up_s=GIVES_UP_S) == ["One.", "Two."]
