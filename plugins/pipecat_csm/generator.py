"""CSM in a few lines of Python: load it, and have it speak a text after a conversation."""

import logging
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pipecat_csm.engine.engine import Engine
from pipecat_csm.engine.session import MAX_REPLY_FRAMES
from pipecat_csm.engine.speech import Frame, Speech
from pipecat_csm.errors import EngineClosedError
from pipecat_csm.model.checkpoint import Checkpoint
from pipecat_csm.model.config import SAMPLE_RATE_HZ
from pipecat_csm.model.sampling import SamplingOptions
from pipecat_csm.options import check_frames, frames_in, sampling_options, segments
from pipecat_csm.pool import SessionPool
from pipecat_csm.segment import Segment
from pipecat_csm.text import normalise, split

logger = logging.getLogger(__name__)


class Generator:
    """A loaded CSM. Its methods may be called from many threads; each call takes a session.

    What a session has read is kept for the next call: a conversation that goes on is not read
    anew, but for Segments that come as audio without codes, which are encoded each time.
    """

    def __init__(self, checkpoint: Checkpoint, engine: Engine) -> None:
        """See `load_csm_1b`."""
        self.checkpoint = checkpoint
        self.engine = engine
        self.sample_rate = SAMPLE_RATE_HZ
        self._sessions = SessionPool(engine)

    def __enter__(self) -> "Generator":
        """The generator itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Stops the engine; a second time does nothing."""
        self.engine.close()

    def sampling(
        self,
        temperature: float | None = None,
        topk: int | None = None,
        min_p: float = 0.0,
        seed: int | None = None,
    ) -> SamplingOptions:
        """How to sample: as the checkpoint says where nothing is given, another way each time.

        Raises:
            OptionError: A number makes no sense.
        """
        own = self.checkpoint.sampling
        return sampling_options(
            own.temperature if temperature is None else temperature,
            own.top_k if topk is None else topk,
            min_p,
            seed,
        )

    def generate(
        self,
        text: str,
        speaker: int,
        context: Sequence[Segment] = (),
        max_audio_length_ms: float = 90_000,
        temperature: float | None = None,
        topk: int | None = None,
        *,
        references: Sequence[Segment] = (),
        min_p: float = 0.0,
        seed: int | None = None,
    ) -> Tensor:
        """Speaks a text of any length.

        Args:
            text: What to say. What cannot be said is passed over.
            speaker: Who says it; the same number as in the context.
            context: What was said before, oldest first, with the sound of both speakers. Where
                it is longer than CSM can hold, the oldest is left out.
            max_audio_length_ms: The speech is cut off there; math.inf is nowhere.
            temperature: 0 is greedy; by default the checkpoint's, which is 0.9 for CSM-1B.
            topk: How many codes each is drawn from; 0 is all; by default the checkpoint's, 50.
            references: Recordings of the voices, before all that was said. They never leave, and
                are read once for all calls that give the same Segments; together they may take
                512 positions, of 80 ms of sound or a token of text each.
            min_p: Codes less likely than this share of the likeliest are never drawn.
            seed: The same gives the same again; by default another each time.

        Returns:
            float32 [samples] at 24 kHz.

        Raises:
            CSMError: The text, the context or a number cannot be used, or the engine stops; the
                sentence says why.
        """
        chunks = self.generate_stream(
            text,
            speaker,
            context,
            max_audio_length_ms,
            temperature,
            topk,
            references=references,
            min_p=min_p,
            seed=seed,
        )
        return torch.cat([torch.zeros(0), *chunks])

    def generate_stream(
        self,
        text: str,
        speaker: int,
        context: Sequence[Segment] = (),
        max_audio_length_ms: float = 90_000,
        temperature: float | None = None,
        topk: int | None = None,
        *,
        references: Sequence[Segment] = (),
        min_p: float = 0.0,
        seed: int | None = None,
        spoken: list[Segment] | None = None,
    ) -> Iterator[Tensor]:
        """Speaks as `generate` does, in pieces of 80 ms as they come to exist.

        A long text is spoken sentence by sentence, each in the context of those before. Closing
        the iterator ends the speech.

        Args:
            spoken: Gets what was said as Segments with their codes, for the context of what is
                said next: then nothing of it is encoded or read again.

        Yields:
            float32 [samples] at 24 kHz; joined they are what `generate` returns.
        """
        how = self.sampling(temperature, topk, min_p, seed)
        left = frames_in(max_audio_length_ms)
        pieces = [Segment(piece, speaker) for piece in split(normalise(text))]
        heard = segments(context, "context")
        with self._sessions.session(how, segments(references, "references")) as session:
            for number, piece in enumerate(pieces):
                speech = session.speak(
                    piece.text,
                    piece.speaker,
                    context=heard,
                    max_frames=int(min(left, MAX_REPLY_FRAMES)),
                    number=number,
                )
                try:
                    for frame in _whole(speech):
                        yield torch.from_numpy(frame.audio)
                finally:
                    speech.cancel()
                    speech.wait()
                    if speech.made:
                        heard.append(piece.with_codes(torch.from_numpy(speech.codes)))
                        if spoken is not None:
                            spoken.append(heard[-1])
                if speech.runaway is not None:
                    logger.warning(
                        "CSM ran away on %r: %s; cut off.", piece.text[:40], speech.runaway
                    )
                left -= speech.made
                if left <= 0:
                    return

    def generate_frames(
        self,
        text: str,
        speaker: int,
        context: Sequence[Segment] = (),
        max_frames: int = 125,
        temperature: float | None = None,
        topk: int | None = None,
        *,
        references: Sequence[Segment] = (),
        seed: int | None = None,
    ) -> Tensor:
        """The codes of one Segment, neither split nor watched: for comparisons and training data.

        Returns:
            int64 [frames, codebooks].
        """
        how = self.sampling(temperature, topk, 0.0, seed)
        check_frames(max_frames)
        target = Segment(normalise(text), speaker)
        with self._sessions.session(how, segments(references, "references")) as session:
            speech = session.speak(
                target.text,
                target.speaker,
                context=segments(context, "context"),
                max_frames=max_frames,
                lead_s=math.inf,
                number=0,
                watch=False,
            )
            for _ in _whole(speech):
                pass
        codes = torch.from_numpy(speech.codes)
        return codes.view(-1, self.checkpoint.config.codebooks)


def _whole(speech: Speech) -> Iterator[Frame]:
    """Every frame of a reply that nobody here cancels.

    Raises:
        CSMError: The engine failed or stopped in the middle.
    """
    yield from speech
    if speech.ending == "cancelled":
        raise EngineClosedError("The engine has stopped.")
