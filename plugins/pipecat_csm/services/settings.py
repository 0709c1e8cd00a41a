"""What may be set of a CSM voice, while it speaks too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipecat.services.settings import TTSSettings
from pipecat.utils.types import NOT_GIVEN, NotGiven, assert_given, is_given

from pipecat_csm.errors import OptionError
from pipecat_csm.model.sampling import SamplingOptions
from pipecat_csm.segment import Segment

Voices = Mapping[str, Sequence[Segment]]


@dataclass
class CSMTTSSettings(TTSSettings):
    """Settings of `CSMTTSService`; each can be changed while it runs.

    A change counts from the next sentence on. One that makes no sense is refused as a whole, with
    an error that says why, and nothing changes.

    ``voice`` is a name among the voices that the service was given. What CSM speaks besides English
    is for its weights to say, so ``language`` changes nothing but where sentences are parted.

    Parameters:
        temperature: 0 to 1,000. 0 is greedy; Sesame's own is 0.9.
        top_k: How many codes each is drawn from, up to 1,000,000; 0 is all.
        seed: A whole number. The same seed says the same in the same conversation.
    """

    temperature: float | NotGiven = field(default_factory=lambda: NOT_GIVEN)
    top_k: int | NotGiven = field(default_factory=lambda: NOT_GIVEN)
    seed: int | NotGiven = field(default_factory=lambda: NOT_GIVEN)

    def sampling(self) -> SamplingOptions:
        """How to sample by them.

        Raises:
            OptionError: A number makes no sense.
        """
        return SamplingOptions(
            temperature=assert_given(self.temperature),
            top_k=assert_given(self.top_k),
            seed=assert_given(self.seed),
        )

    def check(self, change: TTSSettings, voices: Voices) -> None:
        """Raises an `OptionError` if a change of them makes no sense."""
        voice = change.voice
        if is_given(voice) and not (isinstance(voice, str) and voice in voices):
            raise OptionError(f"There is no voice {voice!r}; there are {', '.join(voices)}.")
        changed = self.copy()
        TTSSettings.apply_update(changed, change)
        changed.sampling()
