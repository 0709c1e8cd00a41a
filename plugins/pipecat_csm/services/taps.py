"""Processors that fill the history: with what the caller said, and what he heard of the agent."""

import asyncio

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMContextUserTurnFrame,
    OutputAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipecat_csm.services.conversation import CSMConversation

# Where a turn ends without words, an answer to something else need not wait for them longer.
_WORDS_WITHIN_S = 0.5
# Nor longer until his sound has been encoded, which is done while he speaks: the device hangs, or
# has far too much to do.
_ENCODED_WITHIN_S = 5.0


class UserSegmentTap(FrameProcessor):
    """Hears the caller. Its place is behind the user aggregator, before the language model.

    His sound is taken from where he begins to speak, and a little before that unless the agent was
    audible then (it would be its echo), and encoded while he speaks. The words that the aggregator
    writes into the conversation make it a Segment.
    """

    def __init__(self, conversation: CSMConversation) -> None:
        """Fills the history of a conversation."""
        super().__init__()
        self._conversation = conversation
        self._agent_speaks = False
        self._empty: asyncio.Task[None] | None = None
        self._saying: set[asyncio.Task[None]] = set()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Passes every frame on, and takes note of what concerns the caller."""
        await super().process_frame(frame, direction)
        caller = self._conversation.caller
        match frame:
            case InputAudioRawFrame():
                # What was sent faster than it plays is heard for a while after it was sent.
                echo = self._agent_speaks or self._conversation.playout.audible
                await caller.hear(frame.audio, frame.sample_rate, echo=echo)
            case BotStartedSpeakingFrame():
                self._agent_speaks = True
            case BotStoppedSpeakingFrame():
                self._agent_speaks = False
            case VADUserStartedSpeakingFrame():
                caller.voice_began(frame.start_secs)
            case VADUserStoppedSpeakingFrame():
                caller.voice_ended()
            case UserStartedSpeakingFrame():
                await self._forget_empty()
                caller.turn_began()
            case UserStoppedSpeakingFrame():
                await self._forget_empty()
                self._empty = self.create_task(self._empty_after())
            case LLMContextUserTurnFrame() if direction == FrameDirection.DOWNSTREAM:
                await self._forget_empty()
                # A task of its own: it is to be done even if he goes on, and interrupts.
                said = self.create_task(self._said(frame.text))
                self._saying.add(said)
                said.add_done_callback(self._saying.discard)
                await asyncio.wait({said}, timeout=_ENCODED_WITHIN_S)
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Stops waiting; a second time does nothing."""
        await super().cleanup()
        await self._forget_empty()
        for saying in [*self._saying]:
            await self.cancel_task(saying)

    async def _said(self, text: str) -> None:
        await self._conversation.caller.turn_said(text)
        self._conversation.follow()

    async def _empty_after(self) -> None:
        await asyncio.sleep(_WORDS_WITHIN_S)
        self._empty = None
        self._conversation.caller.turn_was_empty()

    async def _forget_empty(self) -> None:
        task, self._empty = self._empty, None
        if task is not None:
            await self.cancel_task(task)


class AgentSegmentTap(FrameProcessor):
    """Counts what the caller hears of the agent. Its place is right behind the transport's output.

    Pipecat's output passes sound on when it has been sent, in step with its playing, whatever rate
    the transport made of it; only its duration is used. What was said enters the history from the
    engine's own frames.
    """

    def __init__(self, conversation: CSMConversation) -> None:
        """Commits the replies of a conversation."""
        super().__init__()
        self._conversation = conversation
        self._playing: str | None = None
        self._finishing: dict[str, asyncio.Task[None]] = {}

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Passes every frame on, and takes note of what was sent."""
        await super().process_frame(frame, direction)
        match frame:
            case TTSStartedFrame() if frame.context_id:
                self._playing = frame.context_id
                self._conversation.playout.begin(frame.context_id)
            case OutputAudioRawFrame() if self._playing is not None:
                samples = len(frame.audio) / (2 * frame.num_channels)
                self._conversation.sent(self._playing, samples / frame.sample_rate)
            case TTSStoppedFrame() if frame.context_id:
                self._playing = None
                self._finish(frame.context_id)
            case InterruptionFrame():
                await self._interrupt()
                self._conversation.drop_unheard()
            case EndFrame() | CancelFrame():
                await self._interrupt()
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Commits what was heard; a second time does nothing."""
        await super().cleanup()
        await self._interrupt()

    def _finish(self, reply: str) -> None:
        if reply in self._finishing:
            return
        task = self.create_task(self._conversation.finish(reply))
        self._finishing[reply] = task
        task.add_done_callback(lambda _: self._finishing.pop(reply, None))

    async def _interrupt(self) -> None:
        """Whatever was not heard to its end is cut off now."""
        unheard = [*self._finishing]
        for task in [*self._finishing.values()]:
            await self.cancel_task(task)
        if self._playing is not None:
            unheard.append(self._playing)
            self._playing = None
        for reply in unheard:
            self._conversation.interrupt(reply)
