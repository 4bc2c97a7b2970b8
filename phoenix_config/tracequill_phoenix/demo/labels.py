"""What a person would do next: label answers, and make a dataset of the good ones."""

from __future__ import annotations

from typing import Any, Protocol

from tracequill_phoenix.demo.check import Found

DATASET = "demo-good-answers"
CONFIG = "quality"
QUEUE = "Support answers"
_QUEUES = "/tracequill/api/queues"
_QUEUE_ITEMS = 10
_SCORES = {"good": 1, "bad": 0}


class Phoenix(Protocol):
    """The part of ``PhoenixClient`` that is used."""

    def get(self, path: str, **params: Any) -> Any: ...

    def post(self, path: str, body: object) -> Any: ...


def label_answers(phoenix: Phoenix, found: Found) -> int:
    """Give the verdicts about spans that came as annotations; say how many."""
    annotations = []
    for labelled in found.calls.labelled:
        span_id = found.span_id_of(labelled)
        if span_id:
            verdict = labelled.verdict
            annotations.append(
                {
                    "span_id": span_id,
                    "name": CONFIG,
                    "annotator_kind": "HUMAN",
                    "result": {
                        "label": verdict.label,
                        "score": _SCORES[verdict.label],
                        "explanation": verdict.explanation,
                    },
                    "metadata": {"source": "demo"},
                }
            )
    if annotations:
        phoenix.post("/v1/span_annotations?sync=true", {"data": annotations})
    return len(annotations)


def build_dataset(phoenix: Phoenix, project: str) -> dict[str, Any]:
    """Make the dataset of the good answers of *project*, or add to it; give what was built."""
    body = {
        "name": DATASET,
        "project": project,
        "where": f"annotations['{CONFIG}'].label == 'good'",
        "append": True,
    }
    built: dict[str, Any] = phoenix.post("/tracequill/api/datasets", body)["data"]
    return built


def make_queue(phoenix: Phoenix, project: str) -> str:
    """Make an annotation queue of some answers of *project*, once; give its address."""
    queues = phoenix.get(_QUEUES)["data"] + phoenix.get(_QUEUES, archived=True)["data"]
    for queue in queues:
        if queue["name"] == QUEUE:
            return str(queue["url"])
    body = {
        "name": QUEUE,
        "labels": [{"name": CONFIG}],
        "instructions": "Would you send this answer to the customer as it stands?",
        "selection": {"project": project, "sample": _QUEUE_ITEMS},
    }
    return str(phoenix.post(_QUEUES, body)["data"]["url"])
