"""Which profile `auto` picks, and why."""

import pytest

from agent.machine import Machine, choose_profile, probe


def machine(**facts):
    return Machine(**{"cores": 2, "ram_gb": 8.0, "gpu": None, "gpu_gb": 0.0, "hub": False, **facts})


@pytest.mark.parametrize(
    ("facts", "profile"),
    [
        ({}, "embedded"),
        ({"hub": True}, "embedded"),
        ({"cores": 16, "ram_gb": 64.0}, "embedded"),
        ({"cores": 16, "ram_gb": 64.0, "hub": True}, "workstation"),
        ({"cores": 16, "ram_gb": 64.0, "hub": True, "gpu": "L4", "gpu_gb": 24.0}, "gpu"),
        ({"hub": True, "gpu": "MX150", "gpu_gb": 2.0}, "embedded"),
    ],
)
def test_the_first_profile_that_suits(facts, profile):
    assert choose_profile(machine(**facts)).profile == profile


def test_the_reason_is_one_line_that_says_what_more_would_need():
    reason = choose_profile(machine()).reason
    assert "\n" not in reason
    assert "2 cores" in reason
    assert "gpu would need a GPU with 8 GB and the model hub" in reason


def test_the_probe_sees_this_machine(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    here = probe()
    assert here.cores >= 1
    assert here.ram_gb > 0.5
    assert here.hub is False
