"""Talk with CSM in the browser: a Pipecat bot that remembers how you and it have sounded.

    pip install 'csm-agent[csm]' 'pipecat-ai[runner,webrtc,websocket,whisper]'
    OPENAI_API_KEY=... CSM_REFERENCE=me.wav CSM_REFERENCE_TEXT='What I say there.' python example.py

OPENAI_BASE_URL, OPENAI_MODEL, WHISPER_MODEL and CSM_CHECKPOINT choose other models.
"""

import os
from functools import cache

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.runner.run import main
from pipecat.runner.types import RunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.whisper.stt import WhisperSTTService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams
from pipecat.workers.runner import WorkerRunner

from pipecat_csm import Generator, Segment, load_csm_1b, services
from pipecat_csm.audio import to_model_audio
from pipecat_csm.wav import read_wav

PROMPT = "You are a friendly voice. Answer in one or two short sentences, without any markup."
LLM, WHISPER = os.getenv("OPENAI_MODEL", "gpt-4.1-mini"), os.getenv("WHISPER_MODEL", "base.en")


@cache
def load() -> tuple[Generator, list[Segment]]:
    """CSM and its voice, for all conversations."""
    csm = load_csm_1b(checkpoint=os.getenv("CSM_CHECKPOINT", "sesame/csm-1b"), max_sessions=4)
    if not (path := os.getenv("CSM_REFERENCE")):
        return csm, []  # CSM invents a voice
    codes = csm.engine.encode(to_model_audio(*read_wav(path)))
    return csm, [Segment(os.environ["CSM_REFERENCE_TEXT"], speaker=0, codes=codes)]


async def bot(args: RunnerArguments) -> None:
    """One conversation."""
    csm, voice = load()
    params = FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True)
    params.serializer = ProtobufFrameSerializer()  # for the websocket
    transport = await create_transport(args, dict.fromkeys(["webrtc", "websocket"], lambda: params))
    conversation = services.CSMConversation(csm.engine)
    hears = LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    aggregators = services.heard_aggregators(LLMContext(), conversation, user_params=hears)
    stages = [
        transport.input(),
        WhisperSTTService(settings=WhisperSTTService.Settings(model=WHISPER)),
        aggregators.user(),
        services.UserSegmentTap(conversation),  # what you said, and how
        OpenAILLMService(settings=OpenAILLMService.Settings(model=LLM, system_instruction=PROMPT)),
        services.CSMTTSService(conversation=conversation, voices={"voice": voice}),
        transport.output(),
        services.AgentSegmentTap(conversation),  # what you heard of it
        aggregators.assistant(),
    ]
    worker = PipelineWorker(Pipeline(stages), params=PipelineParams(enable_metrics=True))

    @transport.event_handler("on_client_disconnected")
    async def hang_up(*_: object) -> None:
        await worker.cancel()

    await worker.queue_frame(LLMRunFrame())  # it greets you
    runner = WorkerRunner(handle_sigint=args.handle_sigint)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    load()
    main()
