"""Run by the Python of an environment with presidio-analyzer and a spaCy model in it: the analyzer's HTTP API over the real engine.

`presidio_app.py PORT MODEL`, where MODEL is a package with a spaCy pipeline. Says "ready" on standard output.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider

engine = AnalyzerEngine(
    nlp_engine=NlpEngineProvider(
        nlp_configuration={"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": sys.argv[2]}]}
    ).create_engine(),
    supported_languages=["en"],
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            found = engine.analyze(
                text=asked["text"],
                language=asked["language"],
                entities=asked.get("entities"),
                score_threshold=asked.get("score_threshold"),
            )
            status, said = 200, json.dumps([each.to_dict() for each in found], default=str)
        except Exception as error:
            status, said = 500, json.dumps({"error": str(error)})
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(said.encode())))
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
