"""One conversation: its history, the session that follows it, and what was heard of each reply."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from loguru import logger

from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.runner import SamplingOptions
from pipecat_csm.engine.session import Session
from pipecat_csm.engine.speech import Speech
from pipecat_csm.errors import CSMError, EngineClosedError
from pipecat_csm.history import Heard, SegmentHistory, WordsUntil
from pipecat_csm.model.config import FRAME_HZ
from pipecat_csm.segment import Segment
from pipecat_csm.services.caller import Caller
from pipecat_csm.services.playout import Playout

_REMEMBERED = 8
# A device may report at any time that it has played all.
_REPORTS_S = 0.2
# A CPU that has to read a whole context anew takes six seconds, and others may be before it.
_BEGINS_S = 60.0
_HANGS = (
    f"CSM has not begun to speak for {_BEGINS_S:.0f} s: its device hangs, or has too much to do."
)
# A slot is given back within a frame, or behind a context that is being read.
_LEAVES_S = 10.0

Result = TypeVar("Result")


@dataclass
class _Reply:
    """One reply while it is made and played.

    Attributes:
        made_s: Of the sentences that are done.
        speech: The sentence that is being made.
        cut_s: It was cut off after so many seconds.
    """

    made_s: float = 0.0
    speech: Speech | None = None
    cut_s: float | None = None


class CSMConversation:
    """What a conversation's processors share: make one for each, beside the engine of all.

    Called on the event loop; what waits for the engine runs on a thread of its own, in order.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        history: SegmentHistory | None = None,
        playout: Playout | None = None,
        lead_s: float = 4.0,
    ) -> None:
        """Takes no slot yet; see `open`.

        Args:
            engine: Of all conversations.
            history: Empty by default.
            playout: How much of a reply was heard.
            lead_s: A reply is made so far ahead of its playing.
        """
        self.history = history or SegmentHistory()
        self.playout = playout or Playout()
        self.caller = Caller(engine, self.history)
        self.interrupted: dict[str, Heard] = {}
        """What was heard of the latest replies that were interrupted, until somebody takes it."""
        self._engine, self._lead_s = engine, lead_s
        self._agent = 0  # the agent's number
        self._session: Session | None = None
        self._closed = False
        # Of the thread alone.
        self._speech: Speech | None = None
        self._synced = -1
        self._replies: dict[str, _Reply] = {}
        self._unheard: list[str] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="csm-session")
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def alive(self) -> bool:
        """Whether it has a slot of an engine that serves."""
        return self._session is not None and not self._closed and self._engine.alive

    @property
    def positions(self) -> int:
        """How many positions of its context the engine has read."""
        return self._session.positions if self._session else 0

    @property
    def busy(self) -> bool:
        """Whether a reply is on its way to the ear, or the engine has yet to follow the history."""
        return bool(self._tasks) or any(reply.cut_s is None for reply in self._replies.values())

    @property
    def in_step(self) -> bool:
        """Whether the engine has read what the history is."""
        return self._synced == self.history.version

    async def open(self, references: Sequence[Segment], sampling: SamplingOptions) -> None:
        """Takes a slot and has it read the voice; another voice's slot is given back first.

        The agent has the references' number from now on, and the caller another.

        Raises:
            CSMError: There is no room, or the references cannot be used, or it was closed.
        """

        if self._closed:
            raise EngineClosedError("The conversation is over.")

        def reopen() -> None:
            if self._session is not None:
                self._session.close()
                self._session = None
            session, version = self._engine.open_session(sampling, references), self.history.version
            self._session = session
            session.sync(self.history.segments)
            self._synced = version

        self._agent = references[0].speaker if references else 0
        self.caller.speaker = 0 if self._agent else 1
        await self._run(reopen)

    def use(self, engine: Engine) -> None:
        """Another engine, after the first has failed; `open` must follow."""
        self._engine = self.caller.engine = engine

    def resample(self, sampling: SamplingOptions) -> None:
        """From the next reply on it is sampled so."""
        if self._session is not None:
            self._session.sampling = sampling

    async def speak(self, text: str, turn: str) -> tuple[Speech, float]:
        """Begins to say a sentence of a turn.

        It is made as far ahead of its playing as all of the turn may be: what was said before it,
        and waits to be played, counts too.

        Returns:
            Its speech, and where in the turn it begins, in seconds. `spoken` must follow.

        Raises:
            CSMError: It cannot be said.
        """
        reply = self._replies.setdefault(turn, _Reply())

        def begin() -> Speech:
            if self._session is None:
                raise EngineClosedError("The conversation has no voice: it was not opened.")
            self._speech = self._session.speak(
                text, self._agent, context=self.history.segments, lead_s=self._lead_s, paced=True
            )
            return self._speech

        beginning = self._thread.submit(begin)
        try:
            reply.speech = await asyncio.wait_for(asyncio.wrap_future(beginning), _BEGINS_S)
        except (asyncio.CancelledError, TimeoutError) as error:
            # It may begin all the same, and nobody would take it.
            beginning.add_done_callback(_cancel)
            if isinstance(error, TimeoutError):
                raise CSMError(_HANGS) from None
            raise
        reply.speech.report_played(self.playout.sent_s(turn) - reply.made_s)
        return reply.speech, reply.made_s

    def spoken(
        self, turn: str, text: str, speech: Speech, frames: int, words_until: WordsUntil
    ) -> None:
        """A sentence has ended, by itself or because nobody wants the rest.

        Args:
            turn: Whose sentence it is.
            text: Its words.
            speech: Which is cancelled, if it goes on.
            frames: As many were passed on.
            words_until: Which words had been spoken when.
        """
        speech.cancel()
        reply = self._replies.setdefault(turn, _Reply())
        reply.speech = None
        if not frames:
            return
        codes = torch.from_numpy(speech.codes[:frames])
        if speech.ending in (None, "cancelled", "failed"):  # its words are more than its sound
            text = words_until(frames / FRAME_HZ)
        if text:
            segment = Segment(text, self._agent, codes=codes)
            self.history.expect(turn, segment, words_until)
        if reply.cut_s is not None:  # the interruption was faster
            self.history.commit(turn, max(0.0, reply.cut_s - reply.made_s))
        reply.made_s += frames / FRAME_HZ

    def sent(self, turn: str, seconds: float) -> None:
        """So much more of a reply was sent to the caller."""
        total_s = self.playout.sent(turn, seconds)
        reply = self._replies.get(turn)
        if reply is not None and reply.speech is not None:
            reply.speech.report_played(total_s - reply.made_s)

    def interrupt(self, turn: str) -> None:
        """The caller cut a reply off: of it stays what he heard."""
        reply = self._replies.get(turn)
        heard_s = self.playout.heard_s(turn)
        self.playout.end(turn)
        if reply is None:
            return  # another voice's
        reply.cut_s = heard_s
        self.interrupted[turn] = self.history.commit(turn, heard_s)
        # Late sentences of the latest ones may still come.
        for known in self._replies, self.interrupted:
            for old in [*known][:-_REMEMBERED]:
                del known[old]
        self.follow()

    def interrupting(self) -> None:
        """An interruption passes the service, which drops every reply that there is now."""
        self._unheard = [turn for turn, reply in self._replies.items() if reply.cut_s is None]

    def drop_unheard(self) -> None:
        """The interruption has passed the transport: what was not sent by then never will be."""
        turns, self._unheard = self._unheard, []
        for turn in turns:
            reply = self._replies.get(turn)
            if reply is not None and reply.cut_s is None:
                reply.cut_s = 0.0
                self.history.commit(turn, 0.0)
                self.follow()

    async def finish(self, turn: str) -> None:
        """All of a reply was sent: once it has been heard, it is history."""
        while left_s := self.playout.left_s(turn):  # noqa: ASYNC110 (it is time that passes)
            await asyncio.sleep(min(left_s, _REPORTS_S))
        if self._replies.pop(turn, None) is not None:
            self.history.commit(turn)
            self.follow()
        self.playout.end(turn)

    def follow(self) -> None:
        """Has the engine read in the background what the history has become."""
        if self._closed:
            return
        with contextlib.suppress(RuntimeError):  # no loop: the conversation is over
            task = asyncio.get_running_loop().create_task(self._follow())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Gives the slot back; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        await self.caller.close()
        for reply in self._replies.values():
            if reply.speech is not None:
                reply.speech.cancel()

        # Behind an `open` that is going on, whose slot it is.
        def leave() -> None:
            session, self._session = self._session, None
            if session is not None:
                session.close()

        leaving = self._thread.submit(leave)
        self._thread.shutdown(wait=False)
        _, late = await asyncio.wait({asyncio.wrap_future(leaving)}, timeout=_LEAVES_S)
        if late:
            logger.error("CSM's engine hangs: the conversation's slot is not given back yet.")

    async def _follow(self) -> None:
        def sync() -> None:
            if self._closed or self._session is None or self._synced == self.history.version:
                return
            # It would end a reply that goes on; the next one begins with the history anyway.
            speech = self._speech
            if speech is not None and speech.ending is None and not speech.cancelled:
                return
            version = self.history.version
            self._session.sync(self.history.segments)
            self._synced = version

        try:
            await self._run(sync)
        except Exception as error:  # the next reply reads it, or says why it cannot
            logger.warning(f"The voice could not read the conversation ahead: {error}")

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _cancel(beginning: Future[Speech]) -> None:
    if not beginning.cancelled() and beginning.exception() is None:
        beginning.result().cancel()
