"""Everything that a profile may set, with types, bounds and defaults."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.setting_types import Origin

OLLAMA_URL = "http://localhost:11434/v1"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Section):
    """The web server and its limits."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=7860, ge=0, le=65535, description="Port; 0 picks a free one.")
    max_sessions: int = Field(default=4, ge=1, le=1000, description="Conversations at once.")
    allowed_origins: tuple[Origin, ...] = Field(
        default=(), description="Web origins besides the server's own; '*' allows all."
    )
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ice_servers: tuple[str, ...] = Field(
        default=(), description="STUN/TURN URLs for WebRTC callers."
    )
    idle_timeout_s: float = Field(default=300, gt=0, description="Hang up after this much silence.")
    drain_timeout_s: float = Field(
        default=30, ge=0, description="What Ctrl-C waits for live calls."
    )
    add_personas: bool | None = Field(
        default=None,
        description="Whether people may make personas of recordings in the page; null: only where "
        "the server listens on a loopback address.",
    )


class VADSettings(_Section):
    """Voice activity detection: is somebody speaking?"""

    engine: Literal["silero", "webrtc", "hybrid"] = "silero"
    confidence: float = Field(default=0.7, ge=0, le=1)
    start_s: float = Field(default=0.2, gt=0, le=2, description="Speech needed before it counts.")
    stop_s: float = Field(default=0.2, gt=0, le=5, description="Silence needed before it ended.")
    min_volume: float = Field(default=0.5, ge=0, le=1, description="Quieter sound never counts.")
    aggressiveness: int = Field(
        default=2, ge=0, le=3, description="WebRTC VAD only: 3 is strictest."
    )


class TurnSettings(_Section):
    """The end of the caller's turn: has he finished, or only paused?"""

    detector: Literal["smart", "silence"] = Field(
        default="smart",
        description="smart-turn v3 beside the silence timeout, or the timeout alone.",
    )
    silence_s: float = Field(
        default=1.0, gt=0, le=10, description="A pause this long ends any turn."
    )
    speculate: bool = Field(
        default=True,
        description="Think of an answer during the pause; costs requests that are then withdrawn.",
    )


class STTSettings(_Section):
    """Speech recognition by faster-whisper."""

    model: str = Field(default="tiny.en", description="Name (csm-agent models list) or folder.")
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    compute_type: str = "int8"
    threads: int = Field(default=0, ge=0, description="CPU threads; 0 is one per core.")
    interim_interval_s: float = Field(
        default=0.6, ge=0, description="Live captions; 0 turns them off."
    )


class LLMSettings(_Section):
    """The text model: embedded, Ollama's, or any OpenAI-compatible endpoint."""

    provider: Literal["embedded", "ollama", "openai"] = "embedded"
    model: str = Field(
        default="smollm2-135m-instruct", description="Name, or GGUF file if embedded."
    )
    base_url: str | None = Field(
        default=None, description="Endpoint, such as http://localhost:8000/v1."
    )
    api_key_env: str = Field(
        default="OPENAI_API_KEY", description="Variable that holds the API key."
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int = Field(default=160, ge=1, le=4096)
    timeout_s: float = Field(
        default=10, gt=0, le=120, description="Silence from the endpoint is an error."
    )
    context_tokens: int = Field(
        default=2048, ge=512, description="Of one conversation; the oldest turns leave."
    )


class CSMSettings(_Section):
    """CSM, where it speaks."""

    checkpoint: str = Field(
        default="sesame/csm-1b",
        min_length=1,
        description="A folder, a Hugging Face id, or csm-mini, which comes with the program.",
    )
    revision: str | None = Field(default=None, description="Of a Hugging Face id.")
    device: Literal["auto", "cuda", "cpu"] = Field(
        default="auto", description="auto is the GPU where there is one."
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto", description="Of the weights; auto: bfloat16 on a GPU or quantised."
    )
    quantize: Literal["int8", "int4"] | None = Field(
        default=None, description="Weights in fewer bytes; on a CPU only int4 keeps up."
    )
    compile: bool = Field(
        default=True, description="Compile it at the start; false starts in seconds, and is slow."
    )
    listen_back: bool = Field(
        default=False,
        description="Whisper checks where the words are in what CSM said; costs a hearing each.",
    )
    lead_s: float = Field(
        default=4.0, ge=0.5, le=30, description="Speech is made so far ahead of its playing."
    )


class TTSSettings(_Section):
    """The voice."""

    engine: Literal["auto", "csm", "csm-mini", "kokoro"] = Field(
        default="auto",
        description="auto: CSM where there is a GPU for it and its weights can be had, else "
        "Kokoro. csm: on whatever there is. csm-mini: csm with the small checkpoint that comes "
        "with the program, anywhere. Kokoro is the spare voice of them all.",
    )
    model: str = Field(
        default="kokoro-82m", description="Kokoro: name (csm-agent models list) or ONNX file."
    )
    threads: int = Field(default=0, ge=0, description="Kokoro: CPU threads; 0 is one per core.")
    csm: CSMSettings = Field(default_factory=CSMSettings)

    @model_validator(mode="before")
    @classmethod
    def _engine_alone(cls, given: object) -> object:
        """`tts: csm-mini` is short for `tts: {engine: csm-mini}`."""
        return {"engine": given} if isinstance(given, str) else given

    @property
    def csm_settings(self) -> CSMSettings:
        """How CSM runs, where it speaks."""
        if self.engine != "csm-mini":
            return self.csm
        # In float32 it is seven times slower on a CPU, where our own kernels are for 16 bits.
        dtype = "bfloat16" if self.csm.dtype == "auto" else self.csm.dtype
        return self.csm.model_copy(update={"checkpoint": "csm-mini", "dtype": dtype})


class Settings(_Section):
    """Everything that a profile may set."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    vad: VADSettings = Field(default_factory=VADSettings)
    turn: TurnSettings = Field(default_factory=TurnSettings)
    stt: STTSettings = Field(default_factory=STTSettings)
    llm: LLMSettings = Field(default_factory=LLMSettings)
    tts: TTSSettings = Field(default_factory=TTSSettings)
    persona: str = Field(default="ada", description="Who answers when the caller does not choose.")
    personas_dir: Path | None = Field(
        default=None,
        description="More personas, beside those shipped; null: ~/.config/csm-agent/personas, "
        "where `csm-agent persona add` puts them, if it exists.",
    )
    transports: tuple[Literal["websocket", "webrtc"], ...] = ("websocket", "webrtc")
