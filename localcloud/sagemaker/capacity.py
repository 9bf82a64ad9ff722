"""What a training job asks of its instances: spot capacity, and types in the order it prefers them.

Sources: docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html and …/APIReference/API_ResourceConfig.html
"""

from typing import Any

from localcloud.errors import ServiceError
from localcloud.sagemaker.container import DEFAULT_RUNTIME_S

SPOT_SHARE = 0.3
"""The billable share of the seconds on spot instances. AWS's follows the spot price; a fixed one makes figures that can be compared."""
EXCLUSIVE = ("InstanceType", "InstanceGroups", "InstancePlacementConfig")


def check_capacity(p: dict[str, Any]) -> None:
    """Raises ValidationException for a CreateTrainingJob whose demands contradict each other."""
    config, stopping, spot = p.get("ResourceConfig", {}), p.get("StoppingCondition", {}), bool(p.get("EnableManagedSpotTraining"))
    wait_s = stopping.get("MaxWaitTimeInSeconds")
    if spot and (wait_s is None or wait_s < stopping.get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_S)):
        raise _invalid("Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds")
    if wait_s is not None and not spot:
        raise _invalid("Invalid MaxWaitTimeInSeconds. It is for jobs with EnableManagedSpotTraining")
    if spot and config.get("KeepAlivePeriodInSeconds"):
        raise _invalid("KeepAlivePeriodInSeconds cannot be used with EnableManagedSpotTraining: warm pools hold no spot instances")
    if "InstancePreferences" in config:
        _check_preferences(config, spot)
    elif "InstanceType" not in config or "InstanceCount" not in config:
        raise _invalid("ResourceConfig needs InstanceType and InstanceCount, or InstancePreferences")


def _check_preferences(config: dict[str, Any], spot: bool) -> None:
    """What InstancePreferences excludes, and its one place for the number of instances."""
    given = [name for name in EXCLUSIVE if name in config] + (["EnableManagedSpotTraining"] if spot else [])
    if given:
        raise _invalid(f"InstancePreferences and {', '.join(given)} are mutually exclusive")
    types = [preference["InstanceType"] for preference in config["InstancePreferences"]]
    if len(set(types)) < len(types):
        raise _invalid("An instance type can appear only once in InstancePreferences")
    counted = {"InstanceCount" in preference for preference in config["InstancePreferences"]}
    if counted != {"InstanceCount" not in config}:
        raise _invalid("InstanceCount must be set on every one of the InstancePreferences, or in ResourceConfig and on none of them")


def select_instances(config: dict[str, Any]) -> dict[str, Any]:
    """A ResourceConfig as Describe shows it: this machine always has the first type that is preferred."""
    if "InstancePreferences" not in config:
        return config
    first = config["InstancePreferences"][0]
    count = first.get("InstanceCount", config.get("InstanceCount"))
    return config | {"SelectedInstanceType": first["InstanceType"], "SelectedInstanceCount": count}


def instance_count(config: dict[str, Any]) -> int:
    return int(config.get("SelectedInstanceCount") or config.get("InstanceCount", 1))


def instance_type(config: dict[str, Any]) -> str:
    return str(config.get("SelectedInstanceType") or config.get("InstanceType", ""))


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
