"""What a decode says, and whether it may be believed."""

from dataclasses import dataclass

# What Whisper writes over silence and breath: the captions that ended its training videos.
_SAID_OVER_SILENCE = frozenset(
    (
        "you",
        "bye",
        "thank you",
        "thanks for watching",
        "thank you for watching",
        "please subscribe",
    )
)
_REPETITIVE = 2.4  # the compression ratio above which Whisper's authors decode again
_UNSURE = -1.0  # and the mean log probability below which they do
_SILENT = 0.6


@dataclass(frozen=True)
class Transcript:
    """The text of one piece of audio, with what the model thought of it.

    Attributes:
        text: The words, without space at either end; empty when nothing was heard.
        language: Whisper's code of the language, given or detected.
        no_speech_prob: The model's own probability, 0 to 1, that nobody spoke.
        avg_logprob: Mean log probability of a token; closer to 0 is surer.
        compression_ratio: Of the text under zlib; a text that repeats itself has a high one.
        truncated: The text ends before the speech does.
        heard_s: Where the text ends in the audio.
        duration_s: Length of the audio.
        window_s: Length of the window that the encoder saw, padding included.
        decode_s: Time the decode took, waiting not included.
    """

    text: str
    language: str
    no_speech_prob: float
    avg_logprob: float
    compression_ratio: float
    truncated: bool
    heard_s: float
    duration_s: float
    window_s: float
    decode_s: float

    @property
    def is_sound(self) -> bool:
        """False when the text looks like a decoding accident: a loop, half a text, a wild guess."""
        return (
            self.compression_ratio <= _REPETITIVE
            and self.avg_logprob >= _UNSURE
            and not self.truncated
        )

    def is_speech(
        self, *, no_speech_prob: float = _SILENT, min_avg_logprob: float = _UNSURE
    ) -> bool:
        """Whether somebody spoke, as opposed to coughed, clicked or kept silent.

        Args:
            no_speech_prob: Above this, and with an unsure text, nobody spoke.
            min_avg_logprob: Below this a text is unsure.
        """
        if not any(character.isalnum() for character in self.text):
            return False
        if self.no_speech_prob > no_speech_prob and self.avg_logprob < min_avg_logprob:
            return False
        # These words are said in earnest too, so half of the usual doubt has to be there.
        words = self.text.lower().strip(" .!?")
        return not (words in _SAID_OVER_SILENCE and self.no_speech_prob > no_speech_prob / 2)
