"""A load costs the weights in their target type, and hardly anything besides."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.plugins.pipecat_csm.tiny import save_tiny, tiny_csm

# A third of it is one tensor, as in CSM-1B.
SHAPE = {
    "text_vocab_size": 30_000,
    "vocab_size": 1027,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "depth_decoder_config": {"hidden_size": 256, "intermediate_size": 1024},
}

# Only anonymous pages (RssAnon) are ours: those of the file, which is mapped into memory, belong
# to the system's cache of it (RssFile), which takes them back whenever it likes. What torch and
# the libraries take for themselves when first used is spent before, on a tiny checkpoint.
CHILD = """
import json, sys, threading, time
from pathlib import Path
import torch
from pipecat_csm.model.checkpoint import load_checkpoint

def anonymous():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])

tiny, large, dtype = sys.argv[1], sys.argv[2], getattr(torch, sys.argv[3])
load_checkpoint(tiny, dtype=dtype)
before = peak = anonymous()
done = False

def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
        time.sleep(0.001)

watcher = threading.Thread(target=watch)
watcher.start()
model = load_checkpoint(large, dtype=dtype).model
done = True
watcher.join()
weights = sum(p.numel() * p.element_size() for p in model.parameters())
weights += sum(b.numel() * b.element_size() for b in model.mimi.state_dict().values()) - sum(
    p.numel() * p.element_size() for p in model.mimi.parameters()
)
print(json.dumps({"peak": peak - before, "weights": weights}))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    paths = [tmp_path_factory.mktemp(name) for name in ("tiny", "large")]
    return [save_tiny(tiny_csm(), paths[0]), save_tiny(tiny_csm(**SHAPE), paths[1])]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' /proc")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bfloat16", "float32"])
def test_the_peak_is_at_most_1_15_times_the_weights(folders, dtype):
    command = [sys.executable, "-c", CHILD, *map(str, folders), str(dtype).removeprefix("torch.")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(done.stdout)
    assert found["weights"] > 60e6
    assert 0.9 * found["weights"] < found["peak"] <= 1.15 * found["weights"], found
