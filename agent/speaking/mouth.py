"""What speaks in one call: the parts of its pipeline that the choice of the voice decides."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.utils.text.base_text_aggregator import BaseTextAggregator

from agent.embedded.kokoro_tts import KokoroTTSService
from agent.persona import Persona
from agent.playout_reports import ReplyMarks
from agent.speaking.csm import SharedCSM
from agent.speaking.switcher import VoiceSwitcher

if TYPE_CHECKING:
    from pipecat_csm.services.conversation import CSMConversation

Aggregators = Callable[[LLMContext, LLMUserAggregatorParams], LLMContextAggregatorPair]


@dataclass(frozen=True)
class VoiceNews:
    """Which engine speaks, and, where it is not CSM, why."""

    engine: Literal["csm", "kokoro"]
    why: str = ""


@dataclass(frozen=True)
class Mouth:
    """One call's voice.

    Attributes:
        tts: Speaks.
        news: Which engine speaks when the call begins.
        aggregators: Makes the pair that keeps the conversation for the language model.
        prepare: Has the voice begin with a text that may be wanted soon.
        aggregator: Makes what cuts a reply into texts just as `tts` does.
        behind_user: Stand behind the user's aggregator.
        before_output: Stand before the transport's output.
        behind_output: Stand behind the transport's output.
        switcher: `tts`, where there is a choice of two.
        conversation: How it sounded, where CSM may speak.
    """

    tts: FrameProcessor
    news: VoiceNews
    aggregators: Aggregators
    prepare: Callable[[str], Awaitable[None]]
    aggregator: Callable[[], BaseTextAggregator]
    behind_user: list[FrameProcessor] = field(default_factory=list)
    before_output: list[FrameProcessor] = field(default_factory=list)
    behind_output: list[FrameProcessor] = field(default_factory=list)
    switcher: VoiceSwitcher | None = None
    conversation: "CSMConversation | None" = None


def kokoro_mouth(kokoro: KokoroTTSService, why: str) -> Mouth:
    """Kokoro alone.

    Args:
        kokoro: The call's.
        why: CSM does not speak.
    """
    return Mouth(
        tts=kokoro,
        news=VoiceNews("kokoro", why),
        aggregators=lambda context, params: LLMContextAggregatorPair(context, user_params=params),
        prepare=kokoro.prepare,
        aggregator=kokoro.aggregator,
    )


async def csm_mouth(
    csm: SharedCSM, persona: Persona, spare: KokoroTTSService, *, lead_s: float, **options: Any
) -> Mouth:
    """CSM in the persona's voice, with a spare one.

    Args:
        csm: The engine of all calls.
        persona: Whose voice it is.
        spare: Speaks while CSM cannot.
        lead_s: Speech is made so far ahead of its playing.
        **options: For the service, beside what the persona says.

    Raises:
        CSMUnavailable: The persona's recordings cannot be used.
    """
    from pipecat_csm.services.aggregators import heard_aggregators
    from pipecat_csm.services.conversation import CSMConversation
    from pipecat_csm.services.first_clause import FirstClauseAggregator
    from pipecat_csm.services.taps import AgentSegmentTap, UserSegmentTap
    from pipecat_csm.services.tts import CSMTTSService

    voice = await csm.voice(persona)
    sampling = csm.sampling(persona)
    conversation = CSMConversation(csm.engine, lead_s=lead_s)
    service = CSMTTSService(
        conversation=conversation,
        voices={persona.name: voice},
        settings=CSMTTSService.Settings(temperature=sampling.temperature, top_k=sampling.top_k),
        **options,
    )

    async def recover() -> bool:
        return csm.alive and await service.recover(csm.engine)

    switcher = VoiceSwitcher(service, spare, recover=recover)

    async def prepare(text: str) -> None:
        if switcher.active is spare:
            await spare.prepare(text)

    return Mouth(
        tts=switcher,
        news=VoiceNews("csm"),
        aggregators=lambda context, params: heard_aggregators(
            context, conversation, user_params=params
        ),
        prepare=prepare,
        aggregator=lambda: (
            FirstClauseAggregator() if switcher.active is service else spare.aggregator()
        ),
        behind_user=[UserSegmentTap(conversation)],
        before_output=[ReplyMarks()],
        behind_output=[AgentSegmentTap(conversation)],
        switcher=switcher,
        conversation=conversation,
    )
