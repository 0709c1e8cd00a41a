"""After an interruption the conversation, the history and the reports agree on what was heard."""

import asyncio

from pipecat.frames.frames import InterruptionFrame, OutputAudioRawFrame, TTSSpeakFrame

from tests.plugins.pipecat_csm.services.stage import Stage

FIRST = "This is what is said at first, and it takes a while until all of it has been said."
SECOND = "Of this nobody has heard a word."
SHORT = "No."


async def test_a_reply_that_waits_behind_another_is_not_heard_when_that_is_cut_off(
    engine, voices, monkeypatch
):
    async with Stage(engine, voices) as stage:
        history, play = stage.conversation.history, stage.speaker.write_audio_frame

        async def stand_still(frame: OutputAudioRawFrame) -> bool:
            if stage.speaker.played_s > 1.0:
                await asyncio.Event().wait()
            return await play(frame)

        monkeypatch.setattr(stage.speaker, "write_audio_frame", stand_still)
        monkeypatch.setattr(stage.conversation, "_lead_s", 60.0)
        await stage.queue([TTSSpeakFrame(FIRST), TTSSpeakFrame(SHORT)])
        await stage.until(lambda: any(s.text == SHORT for s in history.segments))
        await stage.barge_in()
        await stage.until(lambda: stage.said)
        await stage.at_rest()
        assert history.segments == history.heard
        assert all(FIRST.startswith(segment.text) for segment in history.segments)
        assert stage.said == [" ".join(segment.text for segment in history.segments)]


async def test_a_reply_whose_sound_was_not_sent_yet_is_not_heard(engine, voices):
    async with Stage(engine, voices) as stage:
        for _ in range(5):
            await stage.answer(SECOND)
            await stage.until(lambda: engine.occupancy.speaking)
            await stage.barge_in()
            await stage.at_rest()
            assert stage.conversation.history.segments == stage.conversation.history.heard


async def test_what_the_model_never_said_is_not_its_own_when_it_is_cut_off(engine, voices):
    async with Stage(engine, voices) as stage:
        await stage.answer("This was heard.")
        await stage.heard(1)
        await stage.until(lambda: stage.said)
        sent = stage.speaker.played_s
        await stage.queue([TTSSpeakFrame(FIRST, append_to_context=False)])
        await stage.speaker.plays(sent + 1.5)
        await stage.queue([InterruptionFrame()])
        await stage.at_rest()
        assert stage.said == ["This was heard."]
