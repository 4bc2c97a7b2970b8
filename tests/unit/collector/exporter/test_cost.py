"""Costs by Phoenix's rules: which model's prices count, and how tokens are counted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tracequill_collector.exporter import cost
from tracequill_collector.exporter.cost import ModelRow, PriceRow, Prices, SpanCost

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_PRICES = (
    PriceRow("input", True, 1.0),
    PriceRow("cache_read", True, 0.25),
    PriceRow("output", False, 2.0),
)


def model(rowid: int, pattern: str, **given: Any) -> ModelRow:
    """Give a built-in model with prices; *given* replaces fields."""
    fields: dict[str, Any] = {
        "provider": "",
        "is_built_in": True,
        "start_time": None,
        "is_deleted": False,
        "prices": _PRICES,
    }
    return ModelRow(id=rowid, name_pattern=pattern, **(fields | given))


def prices(*models: ModelRow) -> Prices:
    """Give the prices of *models*."""
    made = Prices()
    made.merge(models)
    return made


def llm(name: Any = "gpt", provider: str = "", kind: str = "LLM", **counts: Any) -> dict[str, Any]:
    """Give the attributes of an LLM span with token *counts*."""
    return {
        "openinference": {"span": {"kind": kind}},
        "llm": {"model_name": name, "provider": provider, "token_count": counts},
    }


def priced(**counts: Any) -> SpanCost:
    """Give the cost of an LLM span with token *counts*, at the prices above."""
    found = prices(model(1, "gpt")).cost(_NOW, llm(**counts))
    assert found
    return found


def chosen(models: list[ModelRow], provider: str = "") -> int | None:
    """Give the id of the model that is chosen for ``gpt``."""
    found = prices(*models).cost(_NOW, llm(provider=provider, prompt=1))
    assert found
    return found.model_id


def test_tokens_are_priced_by_their_side() -> None:
    found = priced(prompt=10, completion=5)

    assert (found.prompt_cost, found.completion_cost, found.total_cost) == (10.0, 10.0, 20.0)
    assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (10, 5, 15)
    assert [(detail.token_type, detail.cost_per_token) for detail in found.details] == [
        ("input", 1.0),
        ("output", 2.0),
    ]


def test_details_have_their_own_prices_and_the_rest_the_default() -> None:
    found = priced(prompt=10, prompt_details={"cache_read": 4, "audio": 1})

    assert [(d.token_type, d.tokens, d.cost) for d in found.details] == [
        ("cache_read", 4, 1.0),
        ("audio", 1, 1.0),
        ("input", 5, 5.0),
    ]


@pytest.mark.parametrize(
    ("counts", "tokens"),
    [
        pytest.param({"total": 8}, (8, None), id="a lone total is the prompt's"),
        pytest.param({"prompt": 3, "total": 8}, (3, 5), id="the completion follows"),
        pytest.param({"completion": 3, "total": 8}, (5, 3), id="the prompt follows"),
        pytest.param({"prompt": 3, "completion": 3, "total": 1}, (3, 3), id="a total too small"),
        pytest.param({"prompt": 3, "completion": -9}, (3, None), id="a negative count is none"),
        pytest.param({"prompt": "3", "completion": True}, (None, 1), id="text is none"),
        pytest.param({"prompt": 2.9, "total": "x"}, (2, None), id="fractions are cut"),
    ],
)
def test_totals_fill_in_for_what_is_not_said(
    counts: dict[str, Any], tokens: tuple[int | None, int | None]
) -> None:
    found = priced(**counts)

    assert (found.prompt_tokens, found.completion_tokens) == tokens


def test_zero_tokens_sum_to_nothing_but_are_a_detail() -> None:
    found = priced(prompt_details={"audio": 0})

    assert found.details[0].tokens == 0
    assert found.details[0].cost == 0.0
    assert found.details[0].cost_per_token is None
    assert found.total_cost is None and found.total_tokens is None


def test_a_model_without_prices_still_counts_tokens() -> None:
    found = prices().cost(_NOW, llm("unknown", prompt=3))

    assert found is not None
    assert (found.model_id, found.total_cost, found.total_tokens) == (None, None, 3)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        llm(kind="llm", prompt=1),
        llm(kind="CHAIN", prompt=1),
        llm(name=" ", prompt=1),
        llm(name=4, prompt=1),
        llm(),
        llm(prompt=float("nan")),
        llm(prompt_details={"audio": float("inf")}),
    ],
)
def test_there_is_no_cost_without_an_llm_a_model_and_tokens(attributes: dict[str, Any]) -> None:
    assert prices(model(1, "gpt")).cost(_NOW, attributes) is None


def test_a_model_that_lacks_the_default_price_of_a_side_gives_no_cost() -> None:
    incomplete = model(1, "gpt", prices=(PriceRow("audio", True, 1.0),))

    assert prices(incomplete).cost(_NOW, llm(prompt=1)) is None


@pytest.mark.parametrize(
    ("prompt", "cost"), [(100, 100.0), (200, 200.0), (201, 402.0)], ids=["under", "at", "over"]
)
def test_a_threshold_changes_the_rate(prompt: int, cost: float) -> None:
    custom = {"key": "llm.token_count.prompt", "threshold": "200", "new_rate": 2}
    rated = model(1, "gpt", prices=(PriceRow("input", True, 1.0, custom),))

    found = prices(rated).cost(_NOW, llm(prompt=prompt))

    assert found is not None and found.total_cost == cost


@pytest.mark.parametrize(
    "custom",
    [None, {}, {"type": "new kind"}, {"key": "a", "threshold": None, "new_rate": 9}, "text"],
)
def test_other_customizations_change_nothing(custom: Any) -> None:
    rated = model(1, "gpt", prices=(PriceRow("input", True, 1.0, custom),))

    found = prices(rated).cost(_NOW, llm(prompt=3))

    assert found is not None and found.total_cost == 3.0


def test_a_threshold_on_text_gives_no_cost() -> None:
    custom = {"key": "llm.model_name", "threshold": 1, "new_rate": 2}
    rated = model(1, "gpt", prices=(PriceRow("input", True, 1.0, custom),))

    assert prices(rated).cost(_NOW, llm(prompt=3)) is None


@pytest.mark.parametrize(
    ("models", "provider", "expected"),
    [
        pytest.param([model(1, "g.*"), model(2, "^gpt$")], "", 2, id="the more specific"),
        pytest.param(
            [model(1, "g", is_built_in=False), model(2, "^gpt$")], "", 1, id="entered by a person"
        ),
        pytest.param([model(1, "gpt"), model(2, "g.t")], "", 1, id="of a better pattern"),
        pytest.param(
            [model(1, "gpt"), model(2, "g", provider="azure")], "azure", 2, id="of the provider"
        ),
        pytest.param(
            [model(1, "gpt"), model(2, "g", provider="azure")], "aws", 1, id="of any provider"
        ),
        pytest.param([model(1, "gpt"), model(2, "gpt")], "", 1, id="built in: the first"),
        pytest.param(
            [model(1, "gpt", is_built_in=False), model(2, "gpt", is_built_in=False)],
            "",
            2,
            id="entered: the last",
        ),
        pytest.param(
            [
                model(1, "gpt", start_time=datetime(2025, 1, 1, tzinfo=UTC)),
                model(2, "gpt", start_time=datetime(2024, 1, 1, tzinfo=UTC)),
                model(3, "gpt", start_time=datetime(2027, 1, 1, tzinfo=UTC)),
                model(4, "gpt"),
            ],
            "",
            1,
            id="the latest that has begun",
        ),
        pytest.param([model(1, "gpt"), model(2, "(")], "", 1, id="a broken pattern fits nothing"),
        pytest.param([model(1, "gpt", is_deleted=True)], "", None, id="not a deleted one"),
    ],
)
def test_the_model_chosen_is(models: list[ModelRow], provider: str, expected: int | None) -> None:
    assert chosen(models, provider) == expected


def test_changed_and_deleted_models_replace_what_was_known() -> None:
    known = prices(model(1, "gpt"))
    assert known.cost(_NOW, llm(prompt=1)) is not None

    known.merge([model(1, "gpt", prices=(PriceRow("input", True, 7.0),))])
    changed = known.cost(_NOW, llm(prompt=1))
    known.merge([model(1, "gpt", is_deleted=True)])
    deleted = known.cost(_NOW, llm(prompt=1))

    assert changed is not None and changed.total_cost == 7.0
    assert deleted is not None and deleted.model_id is None


def test_model_names_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_MAX_CACHED_NAMES", 5)
    known = prices(model(1, "gpt"))

    for number in range(50):
        known.cost(_NOW, llm(f"gpt-{number}", prompt=1))

    assert len(known._by_name) <= 5
