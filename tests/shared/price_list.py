# ruff: noqa: E501
"""What 47 models cost, in USD per million tokens, as two public tables say alike (genai-prices
0.2.3 and litellm 1.109.1, November 2026).

`unit price`; `>N`: for calls with more than N input tokens; `:service`: for that service tier.
"""

PRICES: list[tuple[str, str, str]] = [
    ("anthropic", "claude-fable-5", "input 10; output 50; cache_read 1; cache_write 12.5; cache_write_1h 20"),
    ("anthropic", "claude-fable-5-1", "input 10; output 50; cache_read 0.25; cache_write 12.5; cache_write_1h 20"),
    ("anthropic", "claude-haiku-4-5", "input 1; output 5; cache_read 0.1; cache_write 1.25; cache_write_1h 2"),
    ("anthropic", "claude-opus-4-5", "input 5; output 25; cache_read 0.5; cache_write 6.25; cache_write_1h 10"),
    ("anthropic", "claude-opus-4-6", "input 5; output 25; cache_read 0.5; cache_write 6.25; cache_write_1h 10"),
    ("anthropic", "claude-opus-4-7", "input 5; output 25; cache_read 0.5; cache_write 6.25; cache_write_1h 10"),
    ("anthropic", "claude-opus-4-8", "input 5; output 25; cache_read 0.5; cache_write 6.25; cache_write_1h 10"),
    ("anthropic", "claude-opus-5", "input 5; output 25; cache_read 0.5; cache_write 6.25; cache_write_1h 10"),
    (
        "azure",
        "gpt-5.6-luna",
        "input 0.2; input:flex 0.1; input:priority 0.4; input>272000 0.4; input>272000:flex 0.2; input>272000:priority 0.8; output 1.2; output:flex 0.6; output:priority 2.4; output>272000 1.8; output>272000:flex 0.9; output>272000:priority 3.6; cache_read 0.02; cache_read:flex 0.01; cache_read:priority 0.04; cache_read>272000 0.04; cache_read>272000:flex 0.02; cache_read>272000:priority 0.08; cache_write 0.25; cache_write:flex 0.125; cache_write:priority 0.5; cache_write>272000 0.5; cache_write>272000:flex 0.25; cache_write>272000:priority 1",
    ),
    (
        "azure",
        "gpt-5.6-sol",
        "input 4; input:flex 2; input:priority 8; input>272000 8; input>272000:flex 4; input>272000:priority 16; output 20; output:flex 10; output:priority 40; output>272000 30; output>272000:flex 15; output>272000:priority 60; cache_read 0.4; cache_read:flex 0.2; cache_read:priority 0.8; cache_read>272000 0.8; cache_read>272000:flex 0.4; cache_read>272000:priority 1.6; cache_write 5; cache_write:flex 2.5; cache_write:priority 10; cache_write>272000 10; cache_write>272000:flex 5; cache_write>272000:priority 20",
    ),
    (
        "azure",
        "gpt-5.6-terra",
        "input 2; input:flex 1; input:priority 4; input>272000 4; input>272000:flex 2; input>272000:priority 8; output 12; output:flex 6; output:priority 24; output>272000 18; output>272000:flex 9; output>272000:priority 36; cache_read 0.2; cache_read:flex 0.1; cache_read:priority 0.4; cache_read>272000 0.4; cache_read>272000:flex 0.2; cache_read>272000:priority 0.8; cache_write 2.5; cache_write:flex 1.25; cache_write:priority 5; cache_write>272000 5; cache_write>272000:flex 2.5; cache_write>272000:priority 10",
    ),
    (
        "azure",
        "gpt-6-sol",
        "input 2; input:flex 1; input:priority 4; input>272000 4; input>272000:flex 2; input>272000:priority 8; output 10; output:flex 5; output:priority 20; output>272000 15; output>272000:flex 7.5; output>272000:priority 30; cache_read 0.2; cache_read:flex 0.1; cache_read:priority 0.4; cache_read>272000 0.4; cache_read>272000:flex 0.2; cache_read>272000:priority 0.8; cache_write 2.5; cache_write:flex 1.25; cache_write:priority 5; cache_write>272000 5; cache_write>272000:flex 2.5; cache_write>272000:priority 10",
    ),
    (
        "bedrock",
        "global.openai.gpt-5.6-luna",
        "input 0.2; input>272000 0.4; output 1.2; output>272000 1.8; cache_read 0.02; cache_read>272000 0.04; cache_write 0.25; cache_write>272000 0.5",
    ),
    (
        "bedrock",
        "global.openai.gpt-5.6-sol",
        "input 4; input>272000 8; output 20; output>272000 30; cache_read 0.4; cache_read>272000 0.8; cache_write 5; cache_write>272000 10",
    ),
    (
        "bedrock",
        "global.openai.gpt-5.6-terra",
        "input 2; input>272000 4; output 12; output>272000 18; cache_read 0.2; cache_read>272000 0.4; cache_write 2.5; cache_write>272000 5",
    ),
    (
        "bedrock",
        "global.openai.gpt-6-astra",
        "input 10; input>272000 20; output 50; output>272000 75; cache_read 1; cache_read>272000 2; cache_write 12.5; cache_write>272000 25",
    ),
    ("fireworks_ai", "accounts/fireworks/models/deepseek-v4-flash", "input 0.14; output 0.28; cache_read 0.028"),
    ("gemini", "gemini-2.5-flash-native-audio-latest", "input 0.5; output 2; input_audio 3; output_audio 12"),
    ("gemini", "gemini-2.5-flash-preview-09-2025", "input 0.3; output 2.5; cache_read 0.03; input_audio 1"),
    ("gemini", "gemini-3.1-flash-live-preview", "input 0.75; output 4.5; input_audio 3; output_audio 12"),
    ("gemini", "gemini-3.8-live", "input 0.75; output 4.5; input_audio 3; output_audio 12"),
    ("groq", "openai/gpt-oss-120b", "input 0.15; output 0.6; cache_read 0.075"),
    ("groq", "openai/gpt-oss-20b", "input 0.075; output 0.3; cache_read 0.0375"),
    ("minimax", "MiniMax-M2", "input 0.3; output 1.2; cache_read 0.03; cache_write 0.375"),
    ("minimax", "MiniMax-M2.1", "input 0.3; output 1.2; cache_read 0.03; cache_write 0.375"),
    ("minimax", "MiniMax-M2.5", "input 0.3; output 1.2; cache_read 0.03; cache_write 0.375"),
    ("mistral", "codestral-2508", "input 0.3; output 0.9; cache_read 0.03"),
    ("mistral", "deepseek-v4-1-flash-1017", "input 0.3; output 1.2; cache_read 0.007"),
    ("mistral", "ministral-14b-2512", "input 0.2; output 0.2; cache_read 0.02"),
    ("mistral", "ministral-3b-2512", "input 0.1; output 0.1; cache_read 0.01"),
    ("moonshot", "kimi-k2.5", "input 0.6; output 3; cache_read 0.1"),
    ("moonshot", "kimi-k3", "input 3; output 15; cache_read 0.3; cache_write 3; cache_write_1h 6"),
    ("moonshot", "kimi-k3.1-pro", "input 2; output 10; cache_read 0.2; cache_write 2; cache_write_1h 4"),
    ("moonshot", "kimi-k3.1-pro-highspeed", "input 4; output 20; cache_read 0.2; cache_write 4; cache_write_1h 8"),
    (
        "openai",
        "gpt-5.6",
        "input 4; input:flex 2; input:priority 8; input>272000 8; input>272000:flex 4; input>272000:priority 16; output 20; output:flex 10; output:priority 40; output>272000 30; output>272000:flex 15; output>272000:priority 60; cache_read 0.4; cache_read:flex 0.2; cache_read:priority 0.8; cache_read>272000 0.8; cache_read>272000:flex 0.4; cache_read>272000:priority 1.6; cache_write 5; cache_write:flex 2.5; cache_write:priority 10; cache_write>272000 10; cache_write>272000:flex 5; cache_write>272000:priority 20",
    ),
    (
        "openai",
        "gpt-5.6-luna",
        "input 0.2; input:flex 0.1; input:priority 0.4; input>272000 0.4; input>272000:flex 0.2; input>272000:priority 0.8; output 1.2; output:flex 0.6; output:priority 2.4; output>272000 1.8; output>272000:flex 0.9; output>272000:priority 3.6; cache_read 0.02; cache_read:flex 0.01; cache_read:priority 0.04; cache_read>272000 0.04; cache_read>272000:flex 0.02; cache_read>272000:priority 0.08; cache_write 0.25; cache_write:flex 0.125; cache_write:priority 0.5; cache_write>272000 0.5; cache_write>272000:flex 0.25; cache_write>272000:priority 1",
    ),
    (
        "openai",
        "gpt-5.6-sol",
        "input 4; input:flex 2; input:priority 8; input>272000 8; input>272000:flex 4; input>272000:priority 16; output 20; output:flex 10; output:priority 40; output>272000 30; output>272000:flex 15; output>272000:priority 60; cache_read 0.4; cache_read:flex 0.2; cache_read:priority 0.8; cache_read>272000 0.8; cache_read>272000:flex 0.4; cache_read>272000:priority 1.6; cache_write 5; cache_write:flex 2.5; cache_write:priority 10; cache_write>272000 10; cache_write>272000:flex 5; cache_write>272000:priority 20",
    ),
    (
        "openai",
        "gpt-5.6-terra",
        "input 2; input:flex 1; input:priority 4; input>272000 4; input>272000:flex 2; input>272000:priority 8; output 12; output:flex 6; output:priority 24; output>272000 18; output>272000:flex 9; output>272000:priority 36; cache_read 0.2; cache_read:flex 0.1; cache_read:priority 0.4; cache_read>272000 0.4; cache_read>272000:flex 0.2; cache_read>272000:priority 0.8; cache_write 2.5; cache_write:flex 1.25; cache_write:priority 5; cache_write>272000 5; cache_write>272000:flex 2.5; cache_write>272000:priority 10",
    ),
    (
        "openai",
        "gpt-6-astra",
        "input 10; input:flex 5; input:priority 20; input>272000 20; input>272000:flex 10; input>272000:priority 40; output 50; output:flex 25; output:priority 100; output>272000 75; output>272000:flex 37.5; output>272000:priority 150; cache_read 1; cache_read:flex 0.5; cache_read:priority 2; cache_read>272000 2; cache_read>272000:flex 1; cache_read>272000:priority 4; cache_write 12.5; cache_write:flex 6.25; cache_write:priority 25; cache_write>272000 25; cache_write>272000:flex 12.5; cache_write>272000:priority 50",
    ),
    (
        "openai",
        "gpt-6-luna",
        "input 0.1; input:flex 0.05; input:priority 0.2; input>272000 0.2; input>272000:flex 0.1; input>272000:priority 0.4; output 0.5; output:flex 0.25; output:priority 1; output>272000 0.75; output>272000:flex 0.375; output>272000:priority 1.5; cache_read 0.01; cache_read:flex 0.005; cache_read:priority 0.02; cache_read>272000 0.02; cache_read>272000:flex 0.01; cache_read>272000:priority 0.04; cache_write 0.125; cache_write:flex 0.0625; cache_write:priority 0.25; cache_write>272000 0.25; cache_write>272000:flex 0.125; cache_write>272000:priority 0.5",
    ),
    (
        "openai",
        "gpt-6-sol",
        "input 2; input:flex 1; input:priority 4; input>272000 4; input>272000:flex 2; input>272000:priority 8; output 10; output:flex 5; output:priority 20; output>272000 15; output>272000:flex 7.5; output>272000:priority 30; cache_read 0.2; cache_read:flex 0.1; cache_read:priority 0.4; cache_read>272000 0.4; cache_read>272000:flex 0.2; cache_read>272000:priority 0.8; cache_write 2.5; cache_write:flex 1.25; cache_write:priority 5; cache_write>272000 5; cache_write>272000:flex 2.5; cache_write>272000:priority 10",
    ),
    (
        "openai",
        "gpt-6.1-sol",
        "input 2; input:flex 1; input:priority 4; input>272000 4; input>272000:flex 2; input>272000:priority 8; output 10; output:flex 5; output:priority 20; output>272000 15; output>272000:flex 7.5; output>272000:priority 30; cache_read 0.1; cache_read:flex 0.05; cache_read:priority 0.2; cache_read>272000 0.2; cache_read>272000:flex 0.1; cache_read>272000:priority 0.4; cache_write 2.5; cache_write:flex 1.25; cache_write:priority 5; cache_write>272000 5; cache_write>272000:flex 2.5; cache_write>272000:priority 10",
    ),
    (
        "openai",
        "gpt-6.1-terra",
        "input 1; input:flex 0.5; input:priority 2; input>272000 2; input>272000:flex 1; input>272000:priority 4; output 5; output:flex 2.5; output:priority 10; output>272000 7.5; output>272000:flex 3.75; output>272000:priority 15; cache_read 0.05; cache_read:flex 0.025; cache_read:priority 0.1; cache_read>272000 0.1; cache_read>272000:flex 0.05; cache_read>272000:priority 0.2; cache_write 1.25; cache_write:flex 0.625; cache_write:priority 2.5; cache_write>272000 2.5; cache_write>272000:flex 1.25; cache_write>272000:priority 5",
    ),
    ("vertex_ai", "claude-fable-5", "input 10; output 50; cache_read 1; cache_write 12.5; cache_write_1h 20"),
    ("vertex_ai", "claude-fable-5-1", "input 10; output 50; cache_read 0.25; cache_write 12.5; cache_write_1h 20"),
    ("vertex_ai", "claude-haiku-4-5", "input 1; output 5; cache_read 0.1; cache_write 1.25; cache_write_1h 2"),
    (
        "vertex_ai",
        "claude-sonnet-4-5",
        "input 3; input>200000 6; output 15; output>200000 22.5; cache_read 0.3; cache_read>200000 0.6; cache_write 3.75; cache_write>200000 7.5; cache_write_1h 6; cache_write_1h>200000 12",
    ),
]
