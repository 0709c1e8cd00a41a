"""`csm-agent doctor`: what is here, what is missing, and the one command that mends it."""

import importlib.util
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from agent import __version__
from agent.config import ConfigError
from agent.listening import CannotServe, bind
from agent.machine import probe
from agent.models import Kind, ModelError, resolve
from agent.persona import choose, load_personas, personas_dir
from agent.resources import page_dir
from agent.settings import OLLAMA_URL, Settings
from agent.speaking.csm import why_not

_PARTS = {
    "agent": ("fastapi", "uvicorn", "faster_whisper", "aiortc", "prometheus_client"),
    "embedded": ("onnxruntime", "gruut", "xllamacpp"),
}


@dataclass(frozen=True)
class Finding:
    """One line of the report; a finding that is not `ok` keeps `serve` from starting."""

    ok: bool
    text: str
    remedy: str = ""


def examine(settings: Settings, profile_line: str) -> int:
    """Prints the report and returns 0 if `serve` could start, else 1."""
    print(f"csm-agent {__version__}, Python {sys.version.split()[0]}")
    print(f"machine: {probe()}")
    print(profile_line)
    findings = list(_findings(settings))
    for finding in findings:
        print(f"  {'ok  ' if finding.ok else 'MISS'}  {finding.text}")
        if finding.remedy:
            print(f"        mend it: {finding.remedy}")
    bad = sum(not finding.ok for finding in findings)
    print("`csm-agent serve` can start." if not bad else f"`serve` cannot start: {bad} missing.")
    return 1 if bad else 0


def _findings(settings: Settings) -> Iterator[Finding]:
    missing_extras = False
    for extra, modules in _PARTS.items():
        absent = [m for m in modules if importlib.util.find_spec(m) is None]
        missing_extras = missing_extras or bool(absent)
        if absent:
            yield Finding(
                False,
                f"[{extra}] lacks {', '.join(absent)}",
                f"pip install 'csm-agent[{','.join(_PARTS)}]'",
            )
        else:
            yield Finding(True, f"[{extra}] is installed")
    wanted: list[tuple[str, Kind]] = [
        (settings.stt.model, "whisper"),
        (settings.tts.model, "tts"),
    ]
    if settings.llm.provider == "embedded":
        wanted.append((settings.llm.model, "llm"))
    else:
        yield _endpoint(settings)
    for name, kind in wanted:
        try:
            yield Finding(True, f"model {name}: {resolve(name, kind)}")
        except ModelError as error:
            yield Finding(False, str(error), f"csm-agent models fetch {name}")
    yield Finding(True, _voice(settings))
    personas = load_personas(personas_dir(settings.personas_dir))
    try:
        choose(personas, settings.persona)
        yield Finding(True, f"personas: {', '.join(personas)}")
    except ConfigError as error:
        yield Finding(False, str(error), "csm-agent persona list")
    if not (page_dir() / "index.html").is_file():
        yield Finding(False, "the browser page is not built", "cd agent/web && npm run build")
    yield _port(settings)


def _voice(settings: Settings) -> str:
    why = why_not(settings.tts)
    if why is not None:
        return f"voice: Kokoro; not CSM: {why}"
    return f"voice: CSM ({settings.tts.csm_settings.checkpoint}), and Kokoro as its spare one"


def _endpoint(settings: Settings) -> Finding:
    llm = settings.llm
    url = llm.base_url or (OLLAMA_URL if llm.provider == "ollama" else None)
    if url is None:
        has_key = bool(os.environ.get(llm.api_key_env))
        return Finding(
            has_key,
            "language model: OpenAI" if has_key else "language model: no endpoint and no API key",
            "" if has_key else f"export {llm.api_key_env}=..., or set llm.base_url",
        )
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=3):
            return Finding(True, f"language model: {url} answers")
    except OSError as error:
        remedy = "ollama serve" if llm.provider == "ollama" else "start the endpoint"
        return Finding(False, f"language model: {url} does not answer ({error})", remedy)


def _port(settings: Settings) -> Finding:
    try:
        bind(settings.server.host, settings.server.port).close()
    except CannotServe as error:
        return Finding(False, str(error), "csm-agent serve --port 0")
    return Finding(True, f"{settings.server.host}:{settings.server.port} is free")
