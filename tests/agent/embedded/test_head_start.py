"""Speech that is begun before it is asked for: the same sound, and none of it made twice."""

import asyncio

import numpy as np
import pytest
from pipecat.frames.frames import EagerEndOfTurnCancelFrame, InterruptionFrame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.tests.utils import run_test

from agent.embedded.kokoro import Kokoro
from agent.embedded.kokoro_tts import KokoroTTSService
from agent.services import spoken_form
from tests.agent.embedded.test_kokoro_tts import reply_frames

TEXT = "The train leaves at half past two, from the far platform. Do not be late."
FIRST = "The train leaves at half past two,"


class CountedKokoro(Kokoro):
    """The real voice, with an account of what it was asked to say."""

    asked: list[str]

    def _submit(self, request):
        self.asked.append(request.text)
        return super()._submit(request)


@pytest.fixture
def voice(kokoro: Kokoro) -> CountedKokoro:
    counted = CountedKokoro.__new__(CountedKokoro)
    counted.__dict__ = {**kokoro.__dict__, "asked": []}
    return counted


class PreparedFirst(KokoroTTSService):
    """Has prepared a sentence, and perhaps seen a frame, before its first reply."""

    prepares = FIRST
    sees = None

    async def setup(self, setup: FrameProcessorSetup) -> None:
        await super().setup(setup)
        await self.prepare(self.prepares)
        await asyncio.sleep(0.05)
        if self.sees is not None:
            await KokoroTTSService.process_frame(self, self.sees, FrameDirection.DOWNSTREAM)


async def heard(service: KokoroTTSService) -> np.ndarray:
    down, _ = await run_test(service, frames_to_send=reply_frames(TEXT))
    pcm = b"".join(frame.audio for frame in down if isinstance(frame, OutputAudioRawFrame))
    return np.frombuffer(pcm, "<i2")


async def test_what_was_prepared_is_spoken_and_not_made_again(voice):
    plain = await heard(KokoroTTSService(kokoro=voice))
    pieces, voice.asked = voice.asked, []
    prepared = await heard(PreparedFirst(kokoro=voice))
    assert sorted(voice.asked) == sorted(pieces)
    assert np.array_equal(prepared, plain)


async def test_it_is_prepared_as_it_will_be_spoken(voice):
    service = PreparedFirst(kokoro=voice, text_transforms=[("*", spoken_form())])
    service.prepares = "\nIt costs $5."
    await run_test(service, frames_to_send=reply_frames("It costs $5. Really."))
    assert voice.asked == ["It costs five dollars.", "Really."]


async def test_another_answer_is_spoken_whole(voice):
    service = PreparedFirst(kokoro=voice)
    service.prepares = "Something else entirely."
    plain = await heard(KokoroTTSService(kokoro=voice))
    assert np.array_equal(await heard(service), plain)


@pytest.mark.parametrize("sees", [EagerEndOfTurnCancelFrame(), InterruptionFrame()])
async def test_what_is_withdrawn_is_forgotten(voice, sees):
    service = PreparedFirst(kokoro=voice)
    service.sees = sees
    await heard(service)
    first_piece = voice.asked[0]
    assert voice.asked.count(first_piece) == 2


async def test_a_session_that_ends_leaves_nothing_behind(voice):
    service = PreparedFirst(kokoro=voice)
    await run_test(service, frames_to_send=[])
    assert service._head_start is None
    assert voice._places.acquire(timeout=5)
    voice._places.release()
