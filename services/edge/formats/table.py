"""Which format a route speaks: one row a route."""

from services.edge.formats.openai import CHAT, COMPLETIONS, EMBEDDINGS, IMAGES, MODERATIONS, RERANK, OpenAI

BY_ROUTE: dict[str, OpenAI] = {
    found.route: found for found in (CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, IMAGES, RERANK)
}
