"""The model card that is embedded in a model package: what a person must know who meets the model in the registry.

Schema: docs.aws.amazon.com/sagemaker/latest/dg/model-registry-details.html#model-card-schema; at most 100,000 characters, in one line.
"""

import json
from collections.abc import Iterator
from typing import Any

from tidemill.evaluate.record import Evaluation, Scores
from tidemill.metric import KINDS
from tidemill.spec import ModelSpec

TEXT = 2048
LONGEST = 100_000
TOLD = 20


def model_card(spec: ModelSpec, evaluation: Evaluation, learned: str, facts: dict[str, str]) -> str:
    """JSON. learned: a sentence on what the model learned from; facts: names and values of lineage."""
    card = spec.card
    known = {
        "model_overview": {"model_creator": _text(", ".join(spec.owners))},
        "business_details": {"business_problem": _text(spec.question), "business_stakeholders": _text(", ".join(spec.owners))},
        "intended_uses": {
            "purpose_of_model": _text(card.purpose or spec.question), "intended_uses": _text(card.intended_uses), "risk_rating": "Unknown",
            "factors_affecting_model_efficiency": _text(" · ".join(evaluation.warnings)),
        },
        "training_details": {"training_observations": _text(learned)},
        "evaluation_details": [
            {
                "name": f"{evaluation.rows} held-out rows of {evaluation.period}",
                "evaluation_observation": _text(evaluation.headline),
                "metric_groups": list(_groups(evaluation)),
            }
        ],
        "additional_information": {
            "ethical_considerations": _text(card.ethics), "caveats_and_recommendations": _text(card.limits), "custom_details": facts,
        },
    }  # fmt: skip
    text = json.dumps(known)
    if len(text) <= LONGEST:
        return text
    known["evaluation_details"] = []
    return json.dumps(known)


def _text(value: str) -> str:
    return value[:TEXT]


def _groups(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    formers = (("champion", evaluation.champion), ("best champion there was", evaluation.best))
    models = [("challenger", evaluation.challenger), ("linear baseline", evaluation.baseline)]
    for name, scores in (*models, *((f"{name} {former.champion}", former.scores) for name, former in formers if former)):
        yield {"name": name, "metric_data": list(_metrics(scores))}
    for fairness in evaluation.fairness:
        rates = [_number(f"{rate}: {group.value}", i.value, str(i)) for group in fairness.groups for rate, i in group.rates.items()]
        yield {"name": f"fairness: {fairness.column}", "metric_data": rates[: 3 * TOLD]}
    if evaluation.importance:
        lost = [_number(each.feature, each.loss, f"standard deviation {each.std:.2g}") for each in evaluation.importance[:TOLD]]
        yield {"name": f"{KINDS[evaluation.primary].name} lost without a feature", "metric_data": lost}


def _metrics(scores: Scores) -> Iterator[dict[str, Any]]:
    return (_number(KINDS[metric].name, interval.value, str(interval)) for metric, interval in scores.metrics.items())


def _number(name: str, value: float, notes: str) -> dict[str, Any]:
    return {"name": name[:255], "type": "number", "value": value, "notes": notes}
