"""OpenAI embeddings to every wire that has its own."""

import base64
import json
import struct
from typing import Any

import pytest

from services.edge.providers.base import UnreadableAnswerError
from services.edge.providers.translate import (
    openai_embeddings__bedrock,
    openai_embeddings__cohere,
    openai_embeddings__gemini,
    openai_embeddings__ollama,
    openai_embeddings__vertex,
)
from shared.errors import RefusedError
from tests.edge.translate.translate_kit import fields, options, valid, valid_discovery, valid_operation

ALL: dict[str, Any] = {
    "bedrock": openai_embeddings__bedrock,
    "cohere": openai_embeddings__cohere,
    "gemini": openai_embeddings__gemini,
    "ollama": openai_embeddings__ollama,
    "vertex": openai_embeddings__vertex,
}
REQUEST = {"input": ["one", "two"], "dimensions": 2, "encoding_format": "float", "user": "u"}
VECTORS = [[0.5, -1.0], [0.25, 2.0]]


def sent(maker: str, request: dict[str, Any], model: str = "m") -> Any:
    return json.loads(ALL[maker].request(fields(request), model, options()))


def test_gemini() -> None:
    body = sent("gemini", {**REQUEST, "task_type": "CLUSTERING"}, "gemini-embedding-001")
    valid_discovery(body, "gemini", "BatchEmbedContentsRequest")
    same = {"model": "models/gemini-embedding-001", "outputDimensionality": 2, "taskType": "CLUSTERING"}
    assert body == {"requests": [{**same, "content": {"parts": [{"text": text}]}} for text in ("one", "two")]}


def test_vertex() -> None:
    body = sent("vertex", {**REQUEST, "task_type": "CLUSTERING"})
    valid_discovery(body, "vertex", "GoogleCloudAiplatformV1PredictRequest")
    instances = [{"task_type": "CLUSTERING", "content": text} for text in ("one", "two")]
    assert body == {"instances": instances, "parameters": {"outputDimensionality": 2}}


def test_ollama() -> None:
    assert sent("ollama", {**REQUEST, "keep_alive": 0}) == {
        "model": "m", "input": ["one", "two"], "dimensions": 2, "keep_alive": 0,
    }  # fmt: skip


def test_cohere() -> None:
    body = sent("cohere", REQUEST)
    valid_operation(body, "cohere", "/v2/embed")
    assert body == {
        "model": "m", "texts": ["one", "two"], "input_type": "search_document", "embedding_types": ["float"], "output_dimension": 2,
    }  # fmt: skip
    assert sent("cohere", {**REQUEST, "input_type": "search_query"})["input_type"] == "search_query"


def test_bedrock() -> None:
    titan = {"input": "one", "dimensions": 256, "normalize": True}
    assert sent("bedrock", titan, "amazon.titan-embed-text-v2:0") == {
        "inputText": "one",
        "dimensions": 256,
        "normalize": True,
    }
    body = sent("bedrock", REQUEST, "us.cohere.embed-v4:0")
    assert body == {"texts": ["one", "two"], "input_type": "search_document", "output_dimension": 2}
    with pytest.raises(RefusedError):
        sent("bedrock", REQUEST, "amazon.titan-embed-text-v2:0")


ANSWERS: dict[str, tuple[Any, int | None]] = {
    "gemini": ({"embeddings": [{"values": v} for v in VECTORS], "usageMetadata": {"promptTokenCount": 4}}, 4),
    "vertex": ({"predictions": [{"embeddings": {"values": v, "statistics": {"token_count": 2}}} for v in VECTORS]}, 4),
    "ollama": ({"model": "m", "embeddings": VECTORS, "prompt_eval_count": 4}, 4),
    "cohere": (
        {
            "id": "e",
            "api_version": "2",
            "embeddings": {"float": VECTORS},
            "meta": {"billed_units": {"input_tokens": 4.0}},
        },
        4,
    ),
    "bedrock": (
        {"embeddings": VECTORS, "id": "e", "response_type": "embeddings_floats", "texts": ["one", "two"]},
        None,
    ),
}


@pytest.mark.parametrize("maker", ANSWERS)
def test_an_answer_in_openais_shape(maker: str) -> None:
    found, tokens = ANSWERS[maker]
    body = json.loads(ALL[maker].answer(json.dumps(found).encode(), options(model="m")))
    if tokens is not None:
        valid(body, "openai", "CreateEmbeddingResponse")
        assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    else:
        assert "usage" not in body
    assert [row["embedding"] for row in body["data"]] == VECTORS
    assert [row["index"] for row in body["data"]] == [0, 1]
    packed = json.loads(ALL[maker].answer(json.dumps(found).encode(), options(base64=True)))["data"]
    assert [list(struct.unpack("<2f", base64.b64decode(row["embedding"]))) for row in packed] == VECTORS
    for broken in (b"", b"{}", b"[]", b'{"embeddings":"x"}'):
        with pytest.raises(UnreadableAnswerError):
            ALL[maker].answer(broken, options())


def test_titan_answers_one() -> None:
    body = json.dumps({"embedding": VECTORS[0], "inputTextTokenCount": 3}).encode()
    answer = json.loads(openai_embeddings__bedrock.answer(body, options()))
    assert answer["usage"]["prompt_tokens"] == 3 and answer["data"][0]["embedding"] == VECTORS[0]


@pytest.mark.parametrize("maker", ALL)
@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": [1, 2]}, "input"),
        ({"input": []}, "input"),
        ({"input": [[1]]}, "input"),
        ({"dimensions": "x"}, "dimensions"),
    ],
)
def test_what_cant_be_said_is_refused_by_its_place(maker: str, change: dict[str, Any], param: str) -> None:
    with pytest.raises(RefusedError) as refused:
        sent(maker, {"input": "x", **change})
    assert (refused.value.refusal.status, refused.value.refusal.param) == (400, param)
