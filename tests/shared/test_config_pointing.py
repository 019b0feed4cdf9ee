"""An entry whose model is another name of the same file stands for that one's entries."""

from shared.config import Config, parse

FILE = """
model_list:
- {model_name: fast, litellm_params: {model: openai/gpt-4o-mini, api_key: sk-a, temperature: 1, rpm: 10}, model_info: {id: a, mode: chat}}
- {model_name: fast, litellm_params: {model: groq/llama, api_key: sk-b}, model_info: {id: b}}
- {model_name: writer, litellm_params: {model: fast, temperature: 0}, model_info: {id: w, description: it writes}}
- {model_name: editor, litellm_params: {model: writer, max_tokens: 5}}
"""


def read(text: str) -> tuple[Config, dict[str, tuple[str, str]]]:
    config = parse(text, {})
    return config, {key.place: (key.verdict, key.note) for key in config.keys}


def test_it_has_their_addresses_and_keys_and_what_it_says_itself_goes_before() -> None:
    config, said = read(FILE)
    assert not config.left_out and not config.unkeyed
    found = {
        name: [
            (each.provider, each.upstream_model, each.api_key and each.api_key.reveal(), each.parameters)
            for each in config.deployments
            if each.model_name == name
        ]
        for name in config.model_names
    }
    assert found == {
        "fast": [("openai", "gpt-4o-mini", "sk-a", {"temperature": 1}), ("groq", "llama", "sk-b", {})],
        "writer": [
            ("openai", "gpt-4o-mini", "sk-a", {"temperature": 0}),
            ("groq", "llama", "sk-b", {"temperature": 0}),
        ],
        "editor": [
            ("openai", "gpt-4o-mini", "sk-a", {"temperature": 0, "max_tokens": 5}),
            ("groq", "llama", "sk-b", {"temperature": 0, "max_tokens": 5}),
        ],
    }
    assert len({each.id for each in config.deployments}) == 6
    writer = next(each for each in config.deployments if each.model_name == "writer")
    assert writer.info["description"] == "it writes" and writer.info["mode"] == "chat"
    model = "model_list[2].litellm_params.model"
    assert said[model] == ("differently", "as fast of this file; LiteLLM refuses its calls")
    assert said["model_list[2].litellm_params.temperature"][0] == "acts"
    assert not [place for place in said if place.startswith("model_list[2].litellm_params.rpm")], "it doesn't say so"
    assert any(warning.startswith(model) for warning in config.warnings)


def test_what_says_where_it_goes_or_whose_it_is_means_a_model() -> None:
    for params in (
        "model: openai/fast",
        "model: fast, api_base: http://h/v1",
        "model: fast, custom_llm_provider: openai",
    ):
        config, _ = read(
            FILE + f"- {{model_name: x, litellm_params: {{{params}, api_key: sk-c}}, model_info: {{id: x}}}}"
        )
        (own,) = [each for each in config.deployments if each.model_name == "x"]
        assert (own.upstream_model, own.api_key and own.api_key.reveal()) == ("fast", "sk-c"), params
    named = parse(
        FILE.replace("model_name: fast", "model_name: gpt-4o").replace("{model: fast", "{model: gpt-4o"),
        {"OPENAI_API_KEY": "sk-o"},
    )
    assert [each.provider for each in named.deployments if each.model_name == "writer"] == ["openai"], "a maker's name"


def test_a_circle_or_a_name_of_nobody_is_left_out() -> None:
    config, _ = read(
        """
model_list:
- {model_name: a, litellm_params: {model: b}}
- {model_name: b, litellm_params: {model: a}}
- {model_name: c, litellm_params: {model: c}}
- {model_name: d, litellm_params: {model: nobody}}
"""
    )
    assert not config.deployments
    assert {each.model_name for each in config.left_out} == {"a", "b", "c", "d"}
    assert all("doesn't say whose it is" in each.reason for each in config.left_out)


def test_a_target_that_is_left_out_leaves_it_out_too() -> None:
    config, _ = read(FILE.replace("api_key: sk-a", "api_key: os.environ/NOBODY_SET_IT"))
    assert [each.model_name for each in config.left_out] == ["fast", "writer", "editor"]
    assert len(config.deployments) == 3
