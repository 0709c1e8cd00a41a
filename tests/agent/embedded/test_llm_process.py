"""The language model's process: it ends when it is told to, and says why it cannot begin."""

import asyncio
import os
import signal
import subprocess
import sys

import psutil
import pytest
from openai import AsyncOpenAI

from agent.embedded.llm import EmbeddedLLM
from agent.models import ModelError
from tests.agent.embedded.llm_talk import STORY, servers_of


class TestStopping:
    async def test_while_an_answer_is_being_written(self, gguf):
        llm = EmbeddedLLM(gguf, slots=1, context_per_slot=1024)
        llm.start()
        server = servers_of(os.getpid())[-1]
        async with AsyncOpenAI(base_url=llm.base_url, api_key="none", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="smol",
                messages=STORY,  # type: ignore[arg-type]
                stream=True,
                max_tokens=900,
                extra_body={"ignore_eos": True},
            )
            await anext(aiter(stream))
            await asyncio.to_thread(llm.stop)
            assert not server.is_running()
            with pytest.raises(Exception, match=r"peer closed|[Cc]onnection"):
                async for _ in stream:
                    pass
        assert llm.base_url is None

    def test_leaves_no_process_and_no_thread(self, gguf):
        before = {child.pid for child in servers_of(os.getpid())}
        threads = psutil.Process().num_threads()
        llm = EmbeddedLLM(gguf, slots=1, context_per_slot=256)
        llm.start()
        llm.stop()
        assert {child.pid for child in servers_of(os.getpid())} == before
        assert psutil.Process().num_threads() <= threads

    def test_ctrl_c_in_the_terminal_does_not_reach_the_server(self, llm):
        """It goes to the foreground process group; live turns still need the model."""
        groups = {os.getpgid(server.pid) for server in servers_of(os.getpid())}
        assert groups
        assert os.getpgid(0) not in groups

    def test_ctrl_c_is_still_the_agents_own(self, llm):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_the_server_dies_with_the_agent(self, gguf):
        code = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "import psutil\n"
            "from agent.embedded.llm import EmbeddedLLM\n"
            "llm = EmbeddedLLM(Path(sys.argv[1]), slots=1, context_per_slot=256)\n"
            "llm.start()\n"
            "print(psutil.Process().children()[0].pid, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        agent = subprocess.run(
            [sys.executable, "-c", code, str(gguf)], capture_output=True, text=True, timeout=60
        )
        assert agent.returncode == -signal.SIGKILL
        pid = int(agent.stdout)
        if psutil.pid_exists(pid):
            psutil.Process(pid).wait(20)
        assert not psutil.pid_exists(pid)


class TestRefusals:
    @pytest.mark.parametrize("length", [4, 3_000, 20_000_000])
    def test_a_half_file(self, gguf, tmp_path, length):
        path = tmp_path / "half.gguf"
        with gguf.open("rb") as whole:
            path.write_bytes(whole.read(length))
        llm = EmbeddedLLM(path)
        with pytest.raises(ModelError, match=r"half\.gguf is damaged or only half there") as caught:
            llm.start()
        assert "\n" not in str(caught.value)
        assert llm.base_url is None

    def test_a_damaged_header(self, gguf, tmp_path):
        path = tmp_path / "flipped.gguf"
        content = bytearray(gguf.read_bytes())
        content[100_000:105_000] = b"\xff" * 5_000
        path.write_bytes(content)
        with pytest.raises(ModelError, match="damaged or only half there"):
            EmbeddedLLM(path).start()
