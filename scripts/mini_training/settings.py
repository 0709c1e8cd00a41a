"""The sizes that there are.

`small` is stage A: a closed vocabulary on two CPU cores; 18 million parameters, 37 MB in half
precision. `large` is stage B, for a GPU and an open vocabulary. `smoke` proves in seconds that
everything works, and learns nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class CodecSize:
    """A Mimi, and how it is learned.

    Attributes:
        filters: Channels of the outermost convolutions; they double with each of four strides.
        hidden: The transformers' width.
        layers: Of either transformer.
        feed_forward: The width inside those layers. The decoder's make partials of a pitch and an
            envelope there, for each pitch others.
        bottleneck: What is quantised has so many dimensions, 36 of which are for the pitch.
        books: Codebooks, the semantic one among them.
        book_size: Codes in each, a power of two.
        clip_frames: How much of an utterance is seen at once, above `window` / 2 frames: then
            every distance that the attention can meet later has been learned.
        window: Positions of 40 ms that the transformers look back.
        clips: In a batch.
        rate: The highest learning rate.
        against: The share of the time in which the decoder is tuned against an adversary. It
            takes the buzz out, and costs words as long as there are few steps of few clips.
    """

    filters: int
    hidden: int
    layers: int
    feed_forward: int
    bottleneck: int
    books: int
    book_size: int
    clip_frames: int
    window: int
    clips: int
    rate: float
    against: float


@dataclass(frozen=True)
class SpeechSize:
    """A CSM, and how it is learned.

    Attributes:
        hidden: The backbone's width.
        layers: Its layers.
        heads: Its heads, each of 64 dimensions or less.
        feed_forward: The width inside its layers.
        depth_hidden: The depth decoder's width, and so on.
        depth_layers: Its layers.
        depth_heads: Its heads.
        depth_feed_forward: The width inside those.
        batch_positions: Rows of a batch, padding included.
        depth_share: The share of frames on which the depth decoder learns.
        dropout: Of what every layer adds.
        rate: The highest learning rate.
    """

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    depth_hidden: int
    depth_layers: int
    depth_heads: int
    depth_feed_forward: int
    batch_positions: int
    depth_share: float
    dropout: float
    rate: float


@dataclass(frozen=True)
class Size:
    """Both."""

    codec: CodecSize
    speech: SpeechSize


SIZES = {
    "smoke": Size(
        CodecSize(4, 32, 1, 96, 48, 4, 16, 6, 8, 2, 3e-3, 0.18),
        SpeechSize(32, 2, 2, 64, 32, 1, 2, 64, 600, 0.5, 0.0, 3e-3),
    ),
    "small": Size(
        CodecSize(24, 256, 2, 2_048, 96, 8, 512, 30, 50, 4, 8e-4, 0.0),
        SpeechSize(256, 6, 4, 704, 192, 3, 3, 512, 1_400, 0.5, 0.2, 1e-3),
    ),
    "large": Size(
        CodecSize(26, 256, 2, 768, 96, 8, 1024, 40, 60, 48, 8e-4, 0.18),
        SpeechSize(320, 6, 5, 512, 192, 3, 3, 512, 40_000, 0.5, 0.1, 1e-3),
    ),
}
