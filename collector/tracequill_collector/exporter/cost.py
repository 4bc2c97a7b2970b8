"""What a span costs: its attributes and Phoenix's prices enter, cost rows leave. No I/O.

The rules are Phoenix's, and a differential test holds them so. ``Prices`` finds the model whose
pattern fits the span's model name; ``Prices.cost`` counts its tokens by type and prices them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tracequill_collector.exporter.specificity import specificity
from tracequill_collector.pipeline import nested_value

# Model names come from applications: those seen last are kept, no more than these.
_MAX_CACHED_NAMES = 10_000

_SIDES = ((True, "prompt", "input"), (False, "completion", "output"))
"""Is it the prompt's side, what its details are called, and the type of what is left over."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What one token costs; past ``threshold`` of the attribute ``key`` it is ``new_rate``."""

    base_rate: float
    key: tuple[str, ...] = ()
    threshold: float = 0.0
    new_rate: float = 0.0

    def cost(self, attributes: Mapping[str, Any], tokens: int) -> float:
        """Give the cost of *tokens* of a span with *attributes*."""
        if self.key and (value := nested_value(attributes, *self.key)) and value > self.threshold:
            return tokens * self.new_rate
        return tokens * self.base_rate


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A row of ``token_prices``; ``customization`` is its JSON, parsed."""

    token_type: str
    is_prompt: bool
    base_rate: float
    customization: Any = None


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A row of ``generative_models`` with its prices."""

    id: int
    provider: str
    name_pattern: str
    is_built_in: bool
    start_time: datetime | None
    is_deleted: bool
    prices: tuple[PriceRow, ...]


@dataclass(frozen=True, slots=True)
class CostDetail:
    """A row of ``span_cost_details``."""

    token_type: str
    is_prompt: bool
    tokens: int
    cost: float | None
    cost_per_token: float | None


@dataclass(slots=True)
class SpanCost:
    """A row of ``span_costs``, and its details; what sums to nothing is None."""

    model_id: int | None
    details: list[CostDetail]
    total_cost: float | None = None
    total_tokens: int | None = None
    prompt_cost: float | None = None
    prompt_tokens: int | None = None
    completion_cost: float | None = None
    completion_tokens: int | None = None

    def __post_init__(self) -> None:
        for detail in self.details:
            if detail.cost:
                self.total_cost = (self.total_cost or 0) + detail.cost
                if detail.is_prompt:
                    self.prompt_cost = (self.prompt_cost or 0) + detail.cost
                else:
                    self.completion_cost = (self.completion_cost or 0) + detail.cost
            if detail.tokens:
                self.total_tokens = (self.total_tokens or 0) + detail.tokens
                if detail.is_prompt:
                    self.prompt_tokens = (self.prompt_tokens or 0) + detail.tokens
                else:
                    self.completion_tokens = (self.completion_tokens or 0) + detail.tokens


class IncompletePricesError(Exception):
    """A model has prices for one side, but none for what its details leave over."""


@dataclass(slots=True)
class _Model:
    id: int
    provider: str
    pattern: re.Pattern[str]
    is_built_in: bool
    start_time: datetime | None
    priority: tuple[int, float, int]
    rates: dict[tuple[str, bool], Rate]

    def check(self) -> None:
        for is_prompt, _, left_over in _SIDES:
            has_any = any(side == is_prompt for _, side in self.rates)
            if has_any and (left_over, is_prompt) not in self.rates:
                raise IncompletePricesError(f"model {self.id} has no price of type {left_over}")


@dataclass(slots=True)
class Prices:
    """The models that Phoenix knows, and what their tokens cost."""

    _models: dict[int, _Model] = field(default_factory=dict)
    _by_name: dict[str, list[_Model]] = field(default_factory=dict)

    def merge(self, rows: Iterable[ModelRow]) -> None:
        """Take in new, changed and deleted models."""
        for row in rows:
            self._models.pop(row.id, None)
            if not row.is_deleted and (model := _model(row)):
                self._models[row.id] = model
        self._by_name.clear()

    def cost(self, start_time: datetime, attributes: Mapping[str, Any]) -> SpanCost | None:
        """Give what a span costs; None for all but LLM spans that name their model.

        None as well where Phoenix's own calculation fails, as it then stores no cost either.
        """
        if nested_value(attributes, "openinference", "span", "kind") != "LLM":
            return None
        name = nested_value(attributes, "llm", "model_name")
        if not isinstance(name, str) or not (name := name.strip()):
            return None
        provider = str(nested_value(attributes, "llm", "provider") or "").strip()
        try:
            model = self._find(name, provider, start_time)
            if model:
                model.check()
            details = _details(attributes, model.rates if model else {})
        except (IncompletePricesError, TypeError, ValueError, OverflowError):
            return None
        return SpanCost(model.id if model else None, details) if details else None

    def _find(self, name: str, provider: str, start_time: datetime) -> _Model | None:
        fitting = self._by_name.get(name)
        if fitting is None:
            fitting = [model for model in self._models.values() if model.pattern.search(name)]
            if len(self._by_name) >= _MAX_CACHED_NAMES:
                self._by_name.clear()
            self._by_name[name] = fitting
        valid = [
            model for model in fitting if not model.start_time or model.start_time <= start_time
        ]
        # What people entered goes before what Phoenix brings along.
        entered = [model for model in valid if not model.is_built_in]
        candidates = entered or valid
        if provider and len(candidates) > 1:
            candidates = [model for model in candidates if model.provider == provider] or candidates
        return max(candidates, key=lambda model: model.priority, default=None)


def _model(row: ModelRow) -> _Model | None:
    try:
        pattern = re.compile(row.name_pattern)
    except re.error:  # Phoenix checks patterns; one that came in otherwise fits no model
        return None
    return _Model(
        id=row.id,
        provider=row.provider,
        pattern=pattern,
        is_built_in=row.is_built_in,
        start_time=row.start_time,
        priority=(
            specificity(row.name_pattern),
            row.start_time.timestamp() if row.start_time else 0.0,
            # Of two that are equal otherwise: the first brought along, the last entered.
            -row.id if row.is_built_in else row.id,
        ),
        rates={(price.token_type, price.is_prompt): _rate(price) for price in row.prices},
    )


def _rate(price: PriceRow) -> Rate:
    """Read the one kind of customization that Phoenix knows; of any other it takes no notice."""
    custom = price.customization
    if isinstance(custom, dict) and custom.get("type", "threshold_based") == "threshold_based":
        key = custom.get("key")
        threshold = _number(custom.get("threshold"))
        new_rate = _number(custom.get("new_rate"))
        if isinstance(key, str) and threshold is not None and new_rate is not None:
            return Rate(price.base_rate, tuple(key.split(".")), threshold, new_rate)
    return Rate(price.base_rate)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _details(
    attributes: Mapping[str, Any], rates: Mapping[tuple[str, bool], Rate]
) -> list[CostDetail]:
    found: list[CostDetail] = []
    for (is_prompt, side, left_over), total in zip(_SIDES, _totals(attributes), strict=True):
        details: dict[str, CostDetail] = {}
        default = rates.get((left_over, is_prompt))
        counts = nested_value(attributes, "llm", "token_count", f"{side}_details")
        for token_type, count in (counts if isinstance(counts, dict) else {}).items():
            if isinstance(count, (int, float)):
                rate = rates.get((token_type, is_prompt), default)
                tokens = max(0, int(count))
                details[token_type] = _detail(attributes, token_type, is_prompt, tokens, rate)
        rest = total - sum(detail.tokens for detail in details.values())
        if left_over not in details and rest > 0:
            details[left_over] = _detail(attributes, left_over, is_prompt, rest, default)
        found.extend(details.values())
    return found


def _detail(
    attributes: Mapping[str, Any], token_type: str, is_prompt: bool, tokens: int, rate: Rate | None
) -> CostDetail:
    cost = rate.cost(attributes, tokens) if rate else None
    per_token = cost / tokens if cost is not None and tokens else None
    return CostDetail(token_type, is_prompt, tokens, cost, per_token)


def _totals(attributes: Mapping[str, Any]) -> tuple[int, int]:
    """Give the tokens of prompt and completion; one that is not said follows from the total."""
    try:
        prompt, completion, total = (
            max(0, int(count)) if isinstance(count, (int, float)) else 0
            for count in (
                nested_value(attributes, "llm", "token_count", name)
                for name in ("prompt", "completion", "total")
            )
        )
    except (ValueError, OverflowError):  # NaN or infinite
        return 0, 0
    if total > prompt + completion:
        if not prompt:
            prompt = total - completion
        else:
            completion = total - prompt
    return prompt, completion
