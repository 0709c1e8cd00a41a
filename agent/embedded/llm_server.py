"""The child process in which llama.cpp's own server runs; `agent.embedded.llm` starts it.

A process of its own, because inside the agent's it would hold Python's lock while it loads and,
if an answer is being written, for half a minute while it stops; and because a model that crashes
it must not end the calls.

Standard input carries one line of JSON and then stays open: it closes when the agent stops or
dies, and that ends this process too. Standard output carries the address; standard error the log.
"""

import json
import os
import sys
from importlib import import_module
from typing import Any

# A compiled module without type stubs.
xllamacpp: Any = import_module("xllamacpp")

_ERRORS_ONLY = 1
_MOVED_PROMPTS_MIB = 128


def params_of(wanted: dict[str, Any]) -> Any:
    """llama.cpp's parameters; what is not named here stays as it sets it."""
    params = xllamacpp.CommonParams()
    params.model.path = wanted["path"]
    params.model_alias = {wanted["alias"]}
    params.n_parallel = wanted["slots"]
    params.n_ctx = wanted["slots"] * wanted["context_per_slot"]
    params.cpuparams.n_threads = wanted["threads"]
    params.cpuparams_batch.n_threads = wanted["threads"]
    # Any page in any browser on this machine can reach a loopback port: a secret first part of
    # every path keeps it out, and no page may read an answer.
    params.api_prefix = f"/{wanted['secret']}"
    params.port = wanted["port"]
    params.cors_origins = ""
    params.ui = False
    params.endpoint_slots = False
    # The model fits or it does not; looking twice doubles the start.
    params.fit_params = False
    # A conversation's prompt stays in its slot; when another takes the slot, it moves here, and
    # comes back without being evaluated again. Unbounded it would grow to 8 GB.
    params.cache_ram_mib = _MOVED_PROMPTS_MIB
    params.verbosity = _ERRORS_ONLY
    params.n_predict = wanted["max_tokens"]
    for name, value in wanted["sampling"].items():
        setattr(params.sampling, name, value)
    return params


def main() -> None:
    """Serves until standard input closes."""
    wanted = json.loads(sys.stdin.readline())
    try:
        server = xllamacpp.Server(params_of(wanted))
    except RuntimeError:
        sys.exit(1)
    url = f"{server.listening_address}/{wanted['secret']}/v1"
    print(json.dumps({"url": url}), flush=True)
    sys.stdin.read()
    # No farewell: the server's own waits half a minute for an answer that is being written.
    os._exit(0)


if __name__ == "__main__":
    main()
