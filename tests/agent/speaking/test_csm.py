"""Whether CSM is tried at all, which is decided without importing torch."""

import subprocess
import sys

import pytest

from agent.settings import TTSSettings
from agent.speaking import csm
from agent.speaking.csm import why_not


@pytest.mark.parametrize(
    ("engine", "gpu", "why"),
    [
        ("auto", (None, 0.0), "needs an NVIDIA GPU"),
        ("auto", ("Small One", 4.2), "a GPU with 6 GB, and Small One has 4 GB"),
        ("auto", ("Large One", 24.0), None),
        ("csm", (None, 0.0), None),
        ("csm-mini", (None, 0.0), None),
        ("csm", ("Small One", 4.2), None),
        ("kokoro", ("Large One", 24.0), "the settings choose Kokoro"),
    ],
)
def test_it_is_tried_where_it_may_work_and_where_it_is_asked_for(monkeypatch, engine, gpu, why):
    monkeypatch.setattr(csm, "gpu", lambda: gpu)
    found = why_not(TTSSettings(engine=engine))
    assert found == why if why is None else why in str(found)


@pytest.mark.parametrize("engine", ["auto", "csm", "csm-mini"])
def test_what_must_be_installed_is_named(monkeypatch, engine):
    monkeypatch.setattr(csm, "gpu", lambda: ("Large One", 24.0))
    monkeypatch.setattr(csm.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'csm-agent[csm]'" in str(why_not(TTSSettings(engine=engine)))


def test_the_server_imports_no_torch_to_decide():
    code = (
        "import sys; from agent.services import Services; from agent.speaking.csm import why_not; "
        "from agent.settings import TTSSettings; why_not(TTSSettings()); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
