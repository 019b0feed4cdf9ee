"""The table of guardrails, and what of it a configuration turns on."""

import json
from typing import Any

import pytest

from shared import guardrails
from shared.config import ConfigError, parse
from shared.guardrails import TABLE, Enabled


def enabled(entries: Any = None, **litellm_settings: Any) -> list[Enabled]:
    tree = {"litellm_settings": litellm_settings, **({"guardrails": entries} if entries is not None else {})}
    return guardrails.enabled(parse(json.dumps(tree), {"KEY": "from-environment"}))


def entry(name: str = "g", guardrail: str = "hide-secrets", **params: Any) -> dict[str, Any]:
    return {"guardrail_name": name, "litellm_params": {"guardrail": guardrail, **params}}


def test_names_of_the_table_are_distinct_and_its_stages_possible() -> None:
    names = [name for spec in TABLE for name in (spec.integration, spec.callback, *spec.also) if name]
    assert len(set(names) | {""}) == len({*names, ""})
    for spec in TABLE:
        assert set(spec.stages) <= set(spec.may)
        assert not (spec.redacts and guardrails.BESIDE in spec.may)


def test_callbacks_run_in_the_table_s_order_and_what_redacts_goes_first() -> None:
    found = enabled(callbacks=["banned_keywords", "prometheus", "hide_secrets"])
    assert [each.name for each in found] == ["hide_secrets", "banned_keywords"]
    assert all(each.default_on for each in found)
    redacts = [spec.redacts for spec in TABLE]
    assert redacts == sorted(redacts, reverse=True)


def test_an_entry_of_the_list() -> None:
    (found,) = enabled(
        [entry("mine", "hide-secrets", mode="post_call", default_on=True, api_key="os.environ/KEY", deadline_ms=7)]
    )
    assert (found.name, found.stages, found.default_on, found.deadline_ms) == ("mine", ("post_call",), True, 7)
    assert found.params["api_key"] == "from-environment"
    ref = found.ref()
    assert (ref.name, ref.stages, ref.deadline_ms, ref.at_once) == ("mine", ["post_call"], 7, True)
    (found,) = enabled([entry()])
    assert (found.stages, found.default_on, found.on_error) == (("pre_call",), False, "block")
    (found,) = enabled([entry(mode=["pre_call", "post_call"], unreachable_fallback="fail_open")])
    assert (found.stages, found.on_error) == (("pre_call", "post_call"), "allow")
    (found,) = enabled([entry(mode={"tags": {"a": "pre_call"}, "default": "post_call"})])
    assert found.stages == ("post_call",)
    (found,) = enabled([entry(mode="logging_only")])
    assert found.shadow and found.on_error == "allow" and found.ref().window_characters == 1
    (found,) = enabled([entry(guardrail="my_file.MyGuardrail")])
    assert found.spec.integration == "custom"


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"a": 1}, "guardrails must be a list"),
        ([7], "guardrails must be a list of mappings"),
        ([{"x": 1}], r"guardrails\[0\].guardrail_name must be a string"),
        ([{"guardrail_name": "x"}], r"guardrails\[0\].litellm_params.guardrail must be a string, one of hide-secrets"),
        ([entry(guardrail="hide_sekrets")], r"'hide_sekrets' is not known: hide-secrets"),
        ([entry(mode="before")], "mode must be one of pre_call"),
        ([entry(mode=[])], "mode must be one of pre_call"),
        (
            [entry(mode="during_call")],
            "hide-secrets can't run during_call: the text would already be with the provider",
        ),
        ([entry(mode=["logging_only", "pre_call"])], "logging_only stands alone"),
        ([entry(default_on="yes")], "default_on must be true or false"),
        ([entry(on_error="shrug")], "on_error must be block or allow"),
        ([entry(unreachable_fallback="maybe")], "unreachable_fallback must be"),
        ([entry(deadline_ms=0)], "deadline_ms must be a whole number"),
        ([entry(deadline_ms=True)], "deadline_ms must be a whole number"),
        ([entry(), entry()], "'g' is configured twice"),
    ],
)
def test_a_wrong_entry_is_an_error_at_start_that_says_where(entries: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        enabled(entries)


def test_llm_guard_s_modes() -> None:
    for mode, permission_of in (("all", ""), ("key-specific", "key"), ("request-specific", "request")):
        (found,) = enabled(callbacks=["llmguard_moderations"], llm_guard_mode=mode)
        assert found.permission_of == permission_of
        assert found.permission == ("enable_llm_guard_check" if permission_of else "")
    with pytest.raises(ConfigError, match="llm_guard_mode must be one of all, key-specific, request-specific"):
        enabled(callbacks=["llmguard_moderations"], llm_guard_mode="some")
