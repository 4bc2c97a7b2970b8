from __future__ import annotations

import time

import pytest

from tracequill_collector.recorder.secret import remove_keys


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefGHIJKL0123456789",
        "sk-ant-api03-AbCdEf_012345",
        "sk-****************abcd",
        "gsk_0123456789abcdef",
        "AIzaSyA-0123456789abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        "ABSKQmVkcm9ja0FQSUtleS0x",
        "pk_live_0123456789",
        "rk-0123456789",
        "ek_0123456789",
        "xai-0123456789",
        "tgp_v1_0123456789",
        "hf_0123456789",
        "nvapi-0123456789",
        "r8_0123456789",
        "pplx-0123456789",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "abcd********wxyz",
    ],
)
def test_what_looks_like_a_key_is_removed(key: str) -> None:
    said = remove_keys(f"Incorrect API key provided: {key}. See your account.")

    assert said == "Incorrect API key provided: [key removed]. See your account."


def test_a_bearer_token_is_removed() -> None:
    assert remove_keys("got 'Bearer 0a1b2c3d4e5f'") == "got 'Bearer [key removed]'"


@pytest.mark.parametrize(
    "text",
    [
        "Rate limit reached for gpt-5-nano in organization org-abc on tokens per min.",
        "max_tokens: 5 is less than the minimum of 16",
        "The task-based risk-averse model is overloaded",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert remove_keys(text) == text


@pytest.mark.parametrize("piece", ["-eyJ", "_eyJ", "eyJ.", "sk-", "***-", "-", "AIza-", "Bearer "])
def test_no_text_takes_longer_than_its_length(piece: str) -> None:
    """Class: DoS. A pattern that tries each position of a run anew takes minutes for a megabyte,
    as litellm's boundary of dashes did (CVE-2024-8984).
    """
    started = time.process_time()
    remove_keys(piece * (400_000 // len(piece)))

    assert time.process_time() - started < 2
