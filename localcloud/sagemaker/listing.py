"""The List operations: filters, order and pages, the same for every kind of resource."""

from typing import Any

from localcloud.constraints import only

PAGE = 10
"""Source: MaxResults of the List operations, docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListTrainingJobs.html"""
OBJECTIVE = "FinalObjectiveMetricValue"
"""A SortBy of training jobs of a tuning job, which then have a member of that name."""
COMMON = (
    "NameContains", "CreationTimeAfter", "CreationTimeBefore", "LastModifiedTimeAfter", "LastModifiedTimeBefore", "MaxResults", "NextToken", "SortBy",
    "SortOrder",
)  # fmt: skip


def page(operation: str, p: dict[str, Any], items: list[dict[str, Any]], answer: str, name: str, **filters: str) -> dict[str, Any]:
    """One page of `items` under the key `answer`. `name`: the member that NameContains and SortBy=Name look at; `filters`:
    parameter → member that must be equal. Raises NotSupported for any other filter."""
    only(operation, p, (*COMMON, *filters))
    found = [item for item in items if _wanted(p, item, name) and all(p.get(key) in (None, item.get(member)) for key, member in filters.items())]
    status = next((member for member in filters.values() if member.endswith("Status")), name)
    order = {"Name": name, "Status": status, OBJECTIVE: OBJECTIVE}.get(p.get("SortBy", ""))
    found.sort(key=lambda item: item[order or "CreationTime"], reverse=p.get("SortOrder", "Descending") != "Ascending")
    start, size = int(p.get("NextToken") or 0), p.get("MaxResults") or PAGE
    rest = {"NextToken": str(start + size)} if start + size < len(found) else {}
    return {answer: found[start : start + size]} | rest


def _wanted(p: dict[str, Any], item: dict[str, Any], name: str) -> bool:
    if p.get("NameContains", "").lower() not in str(item[name]).lower():
        return False
    for member in ("CreationTime", "LastModifiedTime"):
        at = item.get(member, item["CreationTime"])
        if (after := p.get(f"{member}After")) is not None and not at > after:
            return False
        if (before := p.get(f"{member}Before")) is not None and not at < before:
            return False
    return True
