"""The speaker encoder: torch's numbers without torch, and voices told apart by them."""

import pickle

import numpy as np
import pytest
import soxr
import torch

from agent.models import ModelError, resolve
from agent.voices.encoder import SAMPLE_RATE_HZ, SpeakerEncoder
from agent.voices.speaker_weights import read_weights
from agent.voices.speakers import likeness_of_parts, voice_of
from tests.recordings import RATE_HZ, Sound, spoken, two_people


def at_16_khz(samples: Sound) -> Sound:
    return soxr.resample(samples, RATE_HZ, SAMPLE_RATE_HZ).astype(np.float32)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    path = resolve("resemblyzer", "speaker")
    return torch.load(path, map_location="cpu", weights_only=True)["model_state"]


def test_the_weights_are_torchs(state):
    weights = read_weights(resolve("resemblyzer", "speaker"))
    assert weights.keys() == state.keys()
    for name, tensor in state.items():
        np.testing.assert_array_equal(weights[name], tensor.numpy())


def test_the_network_is_torchs(encoder, state):
    lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
    lstm.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("lstm.")})
    batch = np.random.default_rng(0).exponential(1e-3, (3, 160, 40)).astype(np.float32)
    with torch.inference_mode():
        _, (hidden, _) = lstm(torch.from_numpy(batch))
        raw = torch.relu(hidden[-1] @ state["linear.weight"].T + state["linear.bias"])
        expected = (raw / raw.norm(dim=1, keepdim=True)).numpy()
    np.testing.assert_allclose(encoder._forward(batch), expected, atol=1e-5)


def test_a_window_each_04_s_of_length_one(encoder):
    windows = encoder.embed(at_16_khz(spoken()[0])[: 4 * SAMPLE_RATE_HZ])
    assert windows.shape == (7, 256)
    np.testing.assert_allclose(np.linalg.norm(windows, axis=1), 1, atol=1e-5)


def test_less_than_a_window_is_enough(encoder):
    whole = voice_of(encoder.embed(at_16_khz(spoken()[0])))
    short = voice_of(encoder.embed(at_16_khz(spoken()[0])[SAMPLE_RATE_HZ : 2 * SAMPLE_RATE_HZ]))
    assert whole @ short > 0.7


def test_loudness_does_not_change_a_voice(encoder):
    speech = at_16_khz(spoken()[0])
    np.testing.assert_allclose(encoder.embed(0.1 * speech), encoder.embed(speech), atol=1e-4)


def test_a_voice_is_more_like_itself_than_like_another(encoder):
    halves = {
        name: [voice_of(encoder.embed(half)) for half in np.array_split(at_16_khz(sound), 2)]
        for name, (sound, _) in ((n, spoken(n)) for n in ("ada", "max", "edith", "onyx"))
    }
    for name, (first, second) in halves.items():
        others = [half for other, pair in halves.items() if other != name for half in pair]
        assert first @ second > 0.82
        assert max(float(first @ other) for other in others) < 0.82


def test_one_person_has_no_two_parts_and_two_people_have(encoder):
    for name in ("ada", "max", "fable"):
        assert likeness_of_parts(encoder.embed(at_16_khz(spoken(name)[0]))) > 0.82
    assert likeness_of_parts(encoder.embed(at_16_khz(two_people()))) < 0.7


def test_a_dialogue_is_two_people_too(encoder):
    ada, other = (at_16_khz(spoken(name)[0]) for name in ("ada", "max"))
    cut = 2 * SAMPLE_RATE_HZ
    turns = [piece[i * cut : (i + 1) * cut] for i in range(3) for piece in (ada, other)]
    assert likeness_of_parts(encoder.embed(np.concatenate(turns))) < 0.75


def test_windows_that_are_all_the_same_are_one_voice():
    same = np.repeat(voice_of(np.ones((1, 256), np.float32))[None], 5, axis=0)
    assert likeness_of_parts(same) == pytest.approx(1)


def test_a_file_that_could_do_harm_is_not_opened(tmp_path):
    class Harm:
        def __reduce__(self):
            return print, ("harm",)

    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(Harm()))
    with pytest.raises(ModelError, match=r"not the weights .*it wants builtins\.print"):
        SpeakerEncoder(path)


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps(7)])
def test_what_is_no_weights_is_refused(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is not the weights of a voice encoder"):
        SpeakerEncoder(path)
