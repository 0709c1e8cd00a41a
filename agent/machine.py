"""What this machine can do, and which profile that calls for."""

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.config import ConfigError, read_yaml
from agent.resources import configs_dir


@dataclass(frozen=True)
class Machine:
    """The facts that choose a profile."""

    cores: int
    ram_gb: float
    gpu: str | None
    gpu_gb: float
    hub: bool

    def __str__(self) -> str:
        """In words, as `doctor` and `serve` print it."""
        gpu = f"{self.gpu} ({self.gpu_gb:.0f} GB)" if self.gpu else "no GPU"
        hub = "model hub reachable" if self.hub else "model hub not reachable"
        return f"{self.cores} cores, {self.ram_gb:.0f} GB memory, {gpu}, {hub}"


class _Needs(BaseModel):
    model_config = ConfigDict(extra="forbid")

    cores: int = 0
    ram_gb: float = 0
    gpu_gb: float = 0
    hub: bool = False

    def unmet_by(self, machine: Machine) -> list[str]:
        """What the machine lacks, in words."""
        lacks = []
        if machine.cores < self.cores:
            lacks.append(f"{self.cores} cores")
        if machine.ram_gb < self.ram_gb:
            lacks.append(f"{self.ram_gb:.0f} GB memory")
        if machine.gpu_gb < self.gpu_gb:
            lacks.append(f"a GPU with {self.gpu_gb:.0f} GB")
        if self.hub and not machine.hub:
            lacks.append("the model hub")
        return lacks


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    profile: str
    needs: _Needs = Field(default_factory=_Needs)


class _Auto(BaseModel):
    model_config = ConfigDict(extra="forbid")

    choose: list[_Rule] = Field(min_length=1)


@dataclass(frozen=True)
class Choice:
    """The profile that `auto` picks, and why in one line."""

    profile: str
    reason: str


def probe() -> Machine:
    """Looks at this machine; takes about a second where the hub does not answer."""
    name, gigabytes = gpu()
    return Machine(_cores(), _ram_gb(), name, gigabytes, _hub_reachable())


def choose_profile(machine: Machine) -> Choice:
    """Picks the first profile of `configs/auto.yaml` whose needs the machine meets.

    Raises:
        ConfigError: `auto.yaml` is broken, or nothing in it suits the machine.
    """
    path = configs_dir() / "auto.yaml"
    try:
        rules = _Auto.model_validate(read_yaml(path, "profile")).choose
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{path.name}: {first['loc']}: {first['msg']}.") from None
    passed: list[str] = []
    for rule in rules:
        lacks = rule.needs.unmet_by(machine)
        if not lacks:
            because = f"; {'; '.join(passed)}" if passed else ""
            return Choice(rule.profile, f"{machine}{because}")
        passed.append(f"{rule.profile} would need {' and '.join(lacks)}")
    raise ConfigError(f"No profile in {path.name} suits this machine: {'; '.join(passed)}.")


def _cores() -> int:
    affinity: Any = getattr(os, "sched_getaffinity", None)  # Linux only; it knows of containers
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _ram_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def gpu() -> tuple[str | None, float]:
    """The first NVIDIA GPU's name and its memory in GB; None and 0 if there is none."""
    # nvidia-smi tells without importing torch, which the agent never does.
    if shutil.which("nvidia-smi") is None:
        return None, 0.0
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        out = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout
        name, megabytes = out.splitlines()[0].rsplit(",", 1)
        return name.strip(), float(megabytes) * 1e6 * 1.048576 / 1e9
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None, 0.0


def _hub_reachable() -> bool:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    url = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        with socket.create_connection((url.hostname or "", port), timeout=1.5):
            return True
    except OSError:
        return False
