"""`csm-agent serve` that cannot start says why in one sentence; one that stops does so well."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.caller import Caller, load_speech
from tests.live_server import LiveServer
from tests.scripted_llm import ScriptedLLM
from tests.talk import DATA, greeted


def serve(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", "serve", "--profile", "embedded", "--port", "0", *args],
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    sentence = result.stderr.strip().splitlines()[-1]
    assert sentence.startswith("csm-agent: ")
    for word in words:
        assert word in sentence


def test_a_port_in_use():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = str(sock.getsockname()[1])
        refused(serve("--port", port), port, "in use", "--port 0")


def test_an_address_of_another_machine():
    refused(serve("--host", "192.0.2.1"), "192.0.2.1")


def test_an_unknown_setting():
    refused(serve(CSM_AGENT__STT__MODLE="x"), "'stt.modle'", "did you mean 'model'")


def test_an_unknown_persona():
    refused(serve("--persona", "edit"), "did you mean 'edith'")


def test_a_missing_model():
    refused(serve("--set", "stt.model=smal.en"), "smal.en", "small.en")
    refused(serve("--set", "stt.model=./nowhere"), "nowhere")


def test_a_missing_certificate():
    refused(serve("--ssl-certfile", "none.pem"), "none.pem")


def test_a_certificate_that_cannot_be_used(tmp_path):
    junk = tmp_path / "junk.pem"
    junk.write_text("not a certificate")
    refused(serve("--ssl-certfile", str(junk)), "junk.pem", "cannot be used")
    refused(serve("--ssl-keyfile", str(junk)), "--ssl-certfile")


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key, made for this test."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *plain))
    return folder / "cert.pem", folder / "key.pem"


def test_https(tmp_path):
    certificate, key = self_signed(tmp_path)
    trust = ssl.create_default_context(cafile=str(certificate))
    with LiveServer("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)) as server:
        assert server.url.startswith("https://")
        address = server.url.replace("127.0.0.1", "localhost") + "/readyz"
        with urllib.request.urlopen(address, context=trust) as response:
            assert json.load(response)["status"] == "ready"


@pytest.mark.parametrize("kind", ["llm", "tts", "stt"])
def test_a_corrupted_model_file(kind, tmp_path):
    broken = tmp_path / ("model.gguf" if kind == "llm" else "model.onnx")
    if kind == "stt":
        broken = tmp_path / "whisper"
        broken.mkdir()
        (broken / "model.bin").write_bytes(b"half a mod")
        (broken / "config.json").write_text("{}")
    else:
        broken.write_bytes(b"GGUF" + b"\0" * 1000)
    refused(serve("--set", f"{kind}.model={broken}"), broken.name)


async def test_ctrl_c_lets_a_live_turn_end_and_takes_no_new_call():
    speech = load_speech(DATA / "question.flac")
    with ScriptedLLM(reply=lambda _: "One two three four five. Six seven eight nine ten.") as llm:
        environ = {"LLM__PROVIDER": "openai", "LLM__BASE_URL": llm.url}
        with LiveServer(**environ) as server:
            async with Caller(server.ws_url) as caller:
                await greeted(caller)
                spoken_at = await caller.say(speech)
                await caller.message("bot-started-speaking", after=spoken_at)
                server.process.send_signal(signal.SIGINT)
                async with Caller(server.ws_url) as late:
                    _, why = await late.wait(lambda: late.closed, what="a refusal")
                    assert "shutting down" in why
                await caller.wait(lambda: caller.closed, what="the end of the call")
                said = " ".join(
                    m.data["text"]
                    for m in caller.messages
                    if m.type == "bot-output" and m.at > spoken_at
                )
                assert "nine ten" in said, "the answer was spoken to its end"
            assert await asyncio.to_thread(server.process.wait, 20) == 0


async def test_a_second_ctrl_c_stops_now():
    with ScriptedLLM(reply=lambda _: "A very long answer. " * 30) as llm:
        environ = {"LLM__PROVIDER": "openai", "LLM__BASE_URL": llm.url}
        with LiveServer(**environ) as server:
            async with Caller(server.ws_url) as caller:
                await greeted(caller)
                spoken_at = await caller.say(load_speech(DATA / "question.flac"))
                await caller.message("bot-started-speaking", after=spoken_at)
                server.process.send_signal(signal.SIGINT)
                server.wait_for("again to stop now")
                server.process.send_signal(signal.SIGINT)
                await asyncio.to_thread(server.process.wait, 20)
