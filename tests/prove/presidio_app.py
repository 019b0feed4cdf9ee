"""Run by the Python of an environment with presidio-analyzer and a spaCy model in it: the
analyzer's HTTP API over the real engine.

`presidio_app.py PORT MODEL`, where MODEL is a package with a spaCy pipeline. Says "ready" on
standard output.
"""

import sys
from typing import Any

from json_server import json_server
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider

engine = AnalyzerEngine(
    nlp_engine=NlpEngineProvider(
        nlp_configuration={"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": sys.argv[2]}]}
    ).create_engine(),
    supported_languages=["en"],
)


def answer(_path: str, asked: Any) -> Any:
    found = engine.analyze(
        text=asked["text"],
        language=asked["language"],
        entities=asked.get("entities"),
        score_threshold=asked.get("score_threshold"),
    )
    return [each.to_dict() for each in found]


server = json_server(int(sys.argv[1]), answer)
print("ready", flush=True)
server.serve_forever()
