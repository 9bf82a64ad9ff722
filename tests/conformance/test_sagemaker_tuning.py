"""SageMaker hyperparameter tuning jobs, as the developer guide and the API reference describe them."""

import json
import re

import pytest
from botocore.validate import ParamValidator

from localcloud import ACCOUNT, REGION
from tests.conformance.conftest import allow, until
from tests.conformance.jobs import EVERYTHING, Tuning, categorical, channel, continuous, integer, limits, put, refused, tuning, watch

MANY = {"CategoricalParameterRanges": [{"Name": name, "Values": [str(n) for n in range(30)]} for name in "xy"]}
WARM = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}], "WarmStartType": "TransferLearning"}
GRID = {"Strategy": "Grid"}
ONE_BY_ONE = {"Strategy": "Grid", "ResourceLimits": {"MaxParallelTrainingJobs": 1}}


@pytest.fixture
def role(account):
    return account.role("sagemaker.amazonaws.com", EVERYTHING)


def trained(account, trial):
    return account.client("sagemaker").describe_training_job(TrainingJobName=trial["TrainingJobName"])


# Jobs: docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeHyperParameterTuningJob.html


def test_a_tuning_job_trains_with_sampled_hyperparameters_and_tells_the_best(account, bucket, role):
    job = Tuning(account, bucket, role, continuous("x", 0, 1), limits(4, 2), {"StaticHyperParameters": {"accuracy": "0.9"}})
    done = job.ended()
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert done["TrainingJobStatusCounters"] == {"Completed": 4, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0}
    assert done["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    assert done["CreationTime"] <= done["HyperParameterTuningEndTime"]
    trials = job.trials()
    heights = {trial["TrainingJobName"]: -((float(trial["TunedHyperParameters"]["x"]) - 0.3) ** 2) for trial in trials}
    for trial in trials:
        metric = trial["FinalHyperParameterTuningJobObjectiveMetric"]
        assert (metric["MetricName"], trial["ObjectiveStatus"], trial["TrainingJobStatus"]) == ("score", "Succeeded", "Completed")
        assert metric["Value"] == pytest.approx(heights[trial["TrainingJobName"]])
    assert done["BestTrainingJob"] == next(trial for trial in trials if trial["TrainingJobName"] == max(heights, key=heights.get))
    assert "FailureReason" not in done
    model = job.sagemaker.meta.service_model
    for operation, answer in (
        ("DescribeHyperParameterTuningJob", done),
        ("ListTrainingJobsForHyperParameterTuningJob", {"TrainingJobSummaries": trials}),
    ):
        answer.pop("ResponseMetadata", None)
        assert ParamValidator().validate(answer, model.operation_model(operation).output_shape).generate_report() == ""


def test_each_training_job_is_one_of_its_own_with_strings_and_the_objectives_name(account, bucket, role):
    # names: an example of … /dg/automatic-model-tuning-monitor.html; _tuning_objective_metric: … /dg/automatic-model-tuning-define-ranges.html
    put(account, bucket, **{"data/a.csv": "1"})
    tags = [{"Key": "k", "Value": "v"}]
    definition = {
        "StaticHyperParameters": {"epochs": "2"}, "DefinitionName": "d", "InputDataConfig": [channel("train", f"s3://{bucket}/data/")],
        "Environment": {"A": "b"}, "CheckpointConfig": {"S3Uri": f"s3://{bucket}/ck"},
    }  # fmt: skip
    job = Tuning(account, bucket, role, integer("depth", 3, 3), limits(1), definition, Tags=tags)
    [trial] = (job.ended(), job.trials())[1]
    assert re.fullmatch(f"{job.name}-001-[0-9a-f]{{8}}", trial["TrainingJobName"])
    assert trial["TrainingJobDefinitionName"] == "d"
    shown = trained(account, trial)
    assert shown["HyperParameters"] == {"epochs": "2", "depth": "3", "_tuning_objective_metric": "score"}
    assert shown["TuningJobArn"] == job.arn == f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:hyper-parameter-tuning-job/{job.name}"
    assert shown["Environment"] == {"A": "b"}
    assert shown["CheckpointConfig"] == {"S3Uri": f"s3://{bucket}/ck/{trial['TrainingJobName']}"}
    assert shown["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{bucket}/out/{trial['TrainingJobName']}/output/model.tar.gz"


def test_at_most_max_parallel_training_jobs_run_at_once(account, bucket, role):
    job = Tuning(account, bucket, role, continuous("x", 0, 1), limits(4, 2), {"StaticHyperParameters": {"sleep_s": "60"}})
    until(lambda: len(job.trials()) == 2 and all(trained(account, trial)["SecondaryStatus"] == "Training" for trial in job.trials()))
    assert job.describe()["TrainingJobStatusCounters"]["InProgress"] == 2
    assert job.describe()["ObjectiveStatusCounters"] == {"Succeeded": 0, "Pending": 2, "Failed": 0}
    job.sagemaker.stop_training_job(TrainingJobName=job.trials()[0]["TrainingJobName"])
    until(lambda: len(job.trials()) == 3)
    assert job.describe()["TrainingJobStatusCounters"]["InProgress"] == 2
    job.stop()
    assert len(job.trials()) == 3
    job.ended()


def test_the_objective_is_the_last_value_that_the_log_shows(account, bucket, role):
    job = Tuning(account, bucket, role, categorical("scores", "1,5,2", "1,3,nan", "9,1"), GRID | {"ResourceLimits": {"MaxParallelTrainingJobs": 3}})
    best = job.ended()["BestTrainingJob"]
    assert (best["TunedHyperParameters"], best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]) == ({"scores": "1,3,nan"}, 3.0)
    lowest = {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "score"}}
    job = Tuning(account, bucket, role, categorical("scores", "1,5,2", "1,3", "9,1"), ONE_BY_ONE | lowest)
    assert job.ended()["BestTrainingJob"]["TunedHyperParameters"] == {"scores": "9,1"}


def test_a_failed_training_job_is_counted_and_does_not_win(account, bucket, role):
    job = Tuning(account, bucket, role, categorical("fail", "a", "b"), ONE_BY_ONE, {"StaticHyperParameters": {"scores": "1"}})
    done = job.ended()
    assert (done["HyperParameterTuningJobStatus"], "BestTrainingJob" in done) == ("Failed", False)
    assert done["FailureReason"].startswith("All training jobs failed.")  # wording as users of AWS quote it, no page has it
    assert done["TrainingJobStatusCounters"]["NonRetryableError"] == 2
    assert done["ObjectiveStatusCounters"]["Failed"] == 2
    assert [trial["FailureReason"] for trial in job.trials()] == ["AlgorithmError: a, exit code: 1", "AlgorithmError: b, exit code: 1"]


def test_without_an_objective_in_the_logs_it_gives_up_after_five_training_jobs(account, bucket, role):
    # wording as users of AWS quote it, no page has it
    job = Tuning(account, bucket, role, integer("depth", 1, 9), limits(8))
    done = job.ended()
    assert done["HyperParameterTuningJobStatus"] == "Failed"
    assert done["FailureReason"].startswith("No objective metrics found after running 5 training jobs.")
    assert done["ObjectiveStatusCounters"] == {"Succeeded": 0, "Pending": 0, "Failed": 5}


def test_stopping_stops_its_training_jobs(account, bucket, role):
    # API_StopHyperParameterTuningJob.html: "and all running training jobs that the tuning job launched"
    job = Tuning(account, bucket, role, continuous("x", 0, 1), limits(9, 2), {"StaticHyperParameters": {"sleep_s": "60"}})
    until(lambda: len(job.trials()) == 2 and all(trained(account, trial)["SecondaryStatus"] == "Training" for trial in job.trials()))
    job.stop()
    assert job.describe()["HyperParameterTuningJobStatus"] in ("Stopping", "Stopped")
    done = job.ended()
    assert (done["HyperParameterTuningJobStatus"], done["TrainingJobStatusCounters"]["Stopped"], len(job.trials())) == ("Stopped", 2, 2)
    assert {trained(account, trial)["TrainingJobStatus"] for trial in job.trials()} == {"Stopped"}
    refused("ValidationException", "is in status Stopped", job.stop)


def test_names_are_short_and_used_once(account, bucket, role):
    job = Tuning(account, bucket, role, continuous("x", 0, 1), limits(1))
    told = "already exists"
    refused("ResourceInUse", told, lambda: Tuning(account, bucket, role, continuous("x", 0, 1), HyperParameterTuningJobName=job.name))
    told = "at 'hyperParameterTuningJobName' failed to satisfy constraint: Member must have length less than or equal to 32"
    refused("ValidationException", told, lambda: Tuning(account, bucket, role, continuous("x", 0, 1), HyperParameterTuningJobName="n" * 33))
    none = {"HyperParameterTuningJobName": "none"}
    for call in ("describe_hyper_parameter_tuning_job", "stop_hyper_parameter_tuning_job", "list_training_jobs_for_hyper_parameter_tuning_job"):
        refused("ResourceNotFound", "none", lambda call=call: getattr(job.sagemaker, call)(**none))
    job.ended()


def test_lists_are_in_order_and_in_pages(account, bucket, role):
    # API_ListTrainingJobsForHyperParameterTuningJob.html: "any training jobs that did not return an objective metric are not listed"
    job = Tuning(account, bucket, role, categorical("scores", "2", "", "3"), ONE_BY_ONE)
    job.ended()
    assert [trial["TunedHyperParameters"]["scores"] for trial in job.trials()] == ["2", "", "3"]
    by_value = job.trials(SortBy="FinalObjectiveMetricValue", SortOrder="Descending")
    assert [trial["TunedHyperParameters"]["scores"] for trial in by_value] == ["3", "2"]
    assert job.trials(StatusEquals="Failed") == []
    listed = job.sagemaker.list_hyper_parameter_tuning_jobs(NameContains=job.name, StatusEquals="Completed")["HyperParameterTuningJobSummaries"]
    assert [(one["HyperParameterTuningJobName"], one["Strategy"], one["ResourceLimits"]) for one in listed] == [
        (job.name, "Grid", {"MaxParallelTrainingJobs": 1})
    ]
    assert listed[0]["TrainingJobStatusCounters"]["Completed"] == 3
    pages = job.sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=job.name, PaginationConfig={"PageSize": 2}
    )
    assert [len(page["TrainingJobSummaries"]) for page in pages] == [2, 1]


# Ranges and strategies: docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-how-it-works.html


def test_the_same_seed_searches_the_same(account, bucket, role):
    ranges = continuous("x", 0, 1) | integer("depth", 1, 100) | categorical("kind", "a", "b", "c")
    first, again, other = (Tuning(account, bucket, role, ranges, {"RandomSeed": seed} | limits(3, 3)) for seed in (7, 7, 8))
    for job in (first, again, other):
        job.ended()
    assert first.tuned() == again.tuned() != other.tuned()
    assert len({tuned["x"] for tuned in first.tuned()}) == 3
    assert all(0 <= float(t["x"]) <= 1 and 1 <= int(t["depth"]) <= 100 and t["kind"] in "abc" for t in first.tuned())


def test_grid_tries_every_combination_once(account, bucket, role):
    ranges = {"CategoricalParameterRanges": [{"Name": "x", "Values": ["0.1", "0.3"]}, {"Name": "kind", "Values": ["a", "b"]}]}
    job = Tuning(account, bucket, role, ranges, GRID | {"ResourceLimits": {"MaxParallelTrainingJobs": 4}})
    assert job.ended()["BestTrainingJob"]["TunedHyperParameters"]["x"] == "0.3"
    assert job.tuned() == [{"x": x, "kind": kind} for x in ("0.1", "0.3") for kind in ("a", "b")]


def test_bayesian_search_learns_where_the_hill_is(account, bucket, role):
    job = Tuning(account, bucket, role, continuous("x", -10, 10), {"Strategy": "Bayesian", "RandomSeed": 3} | limits(12))
    best = job.ended()["BestTrainingJob"]
    chosen = [abs(float(tuned["x"]) - 0.3) for tuned in job.tuned()]
    assert float(best["TunedHyperParameters"]["x"]) == pytest.approx(0.3, abs=0.2)
    assert sum(distance < 1 for distance in chosen[4:]) >= 3  # of eight at random, fewer than one would be


def test_hyperband_stops_those_that_fall_behind_at_a_rung(account, bucket, role):
    # API_HyperbandStrategyConfig.html; the seed draws four of the short ones, then the other two
    ranges = categorical("scores", "1,1", "2,2", "0,hold", "9,9,9,hold")
    band = {"Strategy": "Hyperband", "StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 2}}, "RandomSeed": 179}
    job = Tuning(account, bucket, role, ranges, band | limits(6))
    done = job.ended()
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    *_, behind, beyond = job.trials()
    assert (behind["TunedHyperParameters"]["scores"], behind["TrainingJobStatus"]) == ("0,hold", "Stopped")  # at the first rung
    assert (beyond["TunedHyperParameters"]["scores"], beyond["TrainingJobStatus"]) == ("9,9,9,hold", "Stopped")  # after MaxResource
    assert done["BestTrainingJob"]["TrainingJobName"] == beyond["TrainingJobName"]
    assert done["TrainingJobStatusCounters"]["Stopped"] >= 2


def test_early_stopping_stops_what_is_worse_than_the_median(account, bucket, role):
    # docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-early-stopping.html
    ranges = categorical("scores", "5,6,7", "5,6,9", "6,2,hold,3", "5,7,8")
    job = Tuning(account, bucket, role, ranges, ONE_BY_ONE | {"TrainingJobEarlyStoppingType": "Auto"})
    done = job.ended()
    assert [trial["TrainingJobStatus"] for trial in job.trials()] == ["Completed", "Completed", "Stopped", "Completed"]
    assert job.trials()[2]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 2.0
    assert done["TrainingJobStatusCounters"]["Stopped"] == 1
    assert done["BestTrainingJob"]["TunedHyperParameters"]["scores"] == "5,6,9"


def test_a_target_ends_the_search(account, bucket, role):
    # API_TuningJobCompletionCriteria.html
    ranges = categorical("scores", "1", "5", "7", "8")
    job = Tuning(account, bucket, role, ranges, ONE_BY_ONE | {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 4.5}})
    done = job.ended()
    assert (done["HyperParameterTuningJobStatus"], len(job.trials())) == ("Completed", 2)


def test_no_improvement_ends_the_search(account, bucket, role):
    # API_BestObjectiveNotImproving.html: "failed to improve model performance by 1% or greater"
    ranges = categorical("scores", "1", "2", "2.01", "2.015", "1.9", "5")
    criteria = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
    job = Tuning(account, bucket, role, ranges, ONE_BY_ONE | {"TuningJobCompletionCriteria": criteria})
    done = job.ended()
    assert (done["HyperParameterTuningJobStatus"], len(job.trials())) == ("Completed", 5)
    assert done["TuningJobCompletionDetails"]["NumberOfTrainingJobsObjectiveNotImproving"] == 3


def test_a_logarithmic_range_is_searched_by_orders_of_magnitude(account, bucket, role):
    # docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-define-ranges.html#scaling-type
    ranges = {
        "ContinuousParameterRanges": [
            {"Name": "rate", "MinValue": "0.000001", "MaxValue": "1", "ScalingType": "Logarithmic"},
            {"Name": "keep", "MinValue": "0", "MaxValue": "0.999999", "ScalingType": "ReverseLogarithmic"},
            {"Name": "even", "MinValue": "0", "MaxValue": "1", "ScalingType": "Linear"},
        ]
    }
    job = Tuning(account, bucket, role, ranges, {"RandomSeed": 1} | limits(10, 4), {"StaticHyperParameters": {"scores": "1"}})
    job.ended()
    small = [sum(keep(tuned) < 0.01 for tuned in job.tuned()) for keep in (lambda t: float(t["rate"]), lambda t: 1 - float(t["keep"]))]
    assert min(small) >= 4  # two thirds are expected, one in a hundred on a linear scale
    assert sum(float(tuned["even"]) < 0.01 for tuned in job.tuned()) <= 1
    assert all(len({tuned[name] for tuned in job.tuned()}) == 10 for name in ("rate", "keep", "even"))
    assert all(1e-6 <= float(tuned["rate"]) <= 1 and 0 <= float(tuned["keep"]) <= 0.999999 for tuned in job.tuned())


# Requests


@pytest.mark.parametrize(
    ("ranges", "config", "told"),
    [
        ({}, {}, "at least one range"),
        (continuous("x", 2, 1), {}, "is greater than its MaxValue"),
        (continuous("x", "a", 1), {}, "must be numbers"),
        (integer("x", 1.5, 2), {}, "must be integers"),
        (continuous("x", 0, 1, "Logarithmic"), {}, "greater than 0"),
        (continuous("x", 0, 1, "ReverseLogarithmic"), {}, "0<=x<1.0"),
        (integer("x", 0, 1, "ReverseLogarithmic"), {}, "0<=x<1.0"),
        (continuous("accuracy", 0, 1), {}, "both in StaticHyperParameters and in ParameterRanges"),
        (continuous("x", 0, 1) | integer("x", 0, 1), {}, "More than one range for hyperparameter x"),
        (continuous("x", 0, 1), ONE_BY_ONE, "Only categorical parameters"),
        (MANY, GRID | {"ResourceLimits": {"MaxParallelTrainingJobs": 1}}, "The grid has 900 combinations"),
        (categorical("x", "1", "2"), GRID | limits(3), "must equal the number of distinct categorical combinations, 2"),
        (continuous("x", 0, 1), {"Strategy": "Hyperband"}, "cannot be inferred"),
        (continuous("x", 0, 1), {"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}, "must be Off"),
        (continuous("x", 0, 1), {"StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 3}}}, "only with the Hyperband strategy"),
        (continuous("x", 0, 1), {"HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "no"}}, "A metric is required"),
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_is_refused(account, bucket, role, ranges, config, told):
    definition = {"StaticHyperParameters": {"accuracy": "1"}}
    refused("ValidationException", told, lambda: Tuning(account, bucket, role, ranges, config, definition))


@pytest.mark.parametrize(
    ("config", "definition", "settings", "told"),
    [
        ({}, {}, {"WarmStartConfig": WARM}, "WarmStartConfig"),
        ({}, {}, {"Autotune": {"Mode": "Enabled"}}, "Autotune"),
        ({"ResourceLimits": {"MaxParallelTrainingJobs": 1}}, {}, {}, "MaxNumberOfTrainingJobs of CreateHyperParameterTuningJob with Strategy=Random"),
        ({"ResourceLimits": {"MaxParallelTrainingJobs": 1, "MaxNumberOfTrainingJobs": 1, "MaxRuntimeInSeconds": 600}}, {}, {}, "MaxRuntimeInSeconds"),
        ({"ParameterRanges": {"AutoParameters": [{"Name": "a", "ValueHint": "1"}]}}, {}, {}, "ParameterRanges.AutoParameters"),
        ({"TuningJobCompletionCriteria": {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}}, {}, {}, "CompleteOnConvergence=Enabled"),
        ({}, {"RetryStrategy": {"MaximumRetryAttempts": 2}}, {}, "TrainingJobDefinition.RetryStrategy"),
        ({}, {"TuningObjective": {"Type": "Maximize", "MetricName": "score"}}, {}, "TrainingJobDefinition.TuningObjective"),
        ({}, {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 9, "VolumeSizeInGB": 5}}, {}, "InstanceCount=9"),
        ({}, {"AlgorithmSpecification": {"AlgorithmName": "a", "TrainingInputMode": "File"}}, {}, "AlgorithmSpecification.AlgorithmName"),
    ],
)  # fmt: skip
def test_what_localcloud_does_not_do_is_refused_by_name(account, bucket, role, config, definition, settings, told):
    refused("NotSupportedByLocalcloud", told, lambda: Tuning(account, bucket, role, continuous("x", 0, 1), config, definition, **settings))


def test_several_definitions_are_refused_by_name(account, bucket, role):
    request = tuning(account, bucket, role, continuous("x", 0, 1))
    request["TrainingJobDefinitions"] = [request.pop("TrainingJobDefinition") | {"DefinitionName": "d"}]
    create = account.client("sagemaker").create_hyper_parameter_tuning_job
    refused("NotSupportedByLocalcloud", "TrainingJobDefinitions of CreateHyperParameterTuningJob", lambda: create(**request))


def test_role_and_data_are_looked_at_before_it_begins(account, bucket, role):
    # "No S3 objects found …" of CreateHyperParameterTuningJob, as users of AWS quote it
    data = {"InputDataConfig": [channel("c", f"s3://{bucket}/none")]}
    told = f'No S3 objects found under S3 URL "s3://{bucket}/none"'
    refused("ValidationException", told, lambda: Tuning(account, bucket, role, continuous("x", 0, 1), definition=data))
    wrong = account.role("lambda.amazonaws.com", EVERYTHING)
    refused("ValidationException", f"Could not assume role {wrong}", lambda: Tuning(account, bucket, wrong, continuous("x", 0, 1)))
    narrow = {"ArnLike": {"aws:SourceArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/*"}}
    trusting = account.role("sagemaker.amazonaws.com", EVERYTHING, conditions=narrow)
    assert Tuning(account, bucket, trusting, continuous("x", 0, 1), limits(1)).ended()["HyperParameterTuningJobStatus"] == "Completed"


# Permissions: docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html


def test_a_caller_needs_the_actions_on_the_tuning_job_pass_role_and_add_tags(account, bucket, role):
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:hyper-parameter-tuning-job/tune-*"
    names = ("Create", "Describe", "Stop", "ListTrainingJobsFor")
    caller = account.role("lambda.amazonaws.com", allow([f"sagemaker:{name}HyperParameterTuningJob" for name in names], arn))
    sagemaker = account.acting(caller)("sagemaker")
    request = tuning(account, bucket, role, continuous("x", 0, 1), limits(1)) | {"Tags": [{"Key": "k", "Value": "v"}]}
    name = {"HyperParameterTuningJobName": request["HyperParameterTuningJobName"]}
    for missing, grant in (
        (f"sagemaker:AddTags on resource: {arn[:-1]}", allow("sagemaker:AddTags", arn)),
        (f"iam:PassRole on resource: {role}", allow("iam:PassRole", role, StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"})),
    ):
        refused("AccessDeniedException", missing, lambda: sagemaker.create_hyper_parameter_tuning_job(**request))
        account.grant(caller, grant)
    sagemaker.create_hyper_parameter_tuning_job(**request)
    until(lambda: sagemaker.describe_hyper_parameter_tuning_job(**name)["HyperParameterTuningJobStatus"] == "Completed")
    assert len(sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(**name)["TrainingJobSummaries"]) == 1
    refused("AccessDeniedException", "sagemaker:ListHyperParameterTuningJobs", sagemaker.list_hyper_parameter_tuning_jobs)


# Events: docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html#eventbridge-hpo


def test_every_change_of_a_tuning_job_is_an_event(account, bucket, role):
    name = account.name("tune")
    url = watch(account, "SageMaker HyperParameter Tuning Job State Change", HyperParameterTuningJobName=name)
    tags = [{"Key": "k", "Value": "v"}]
    job = Tuning(account, bucket, role, continuous("x", 0, 1), limits(2), HyperParameterTuningJobName=name, Tags=tags)
    job.ended()
    events = [json.loads(message["Body"]) for message in account.messages(url, 2)]
    assert {event["detail"]["HyperParameterTuningJobStatus"] for event in events} == {"InProgress", "Completed"}
    done = next(event for event in events if event["detail"]["HyperParameterTuningJobStatus"] == "Completed")
    assert (done["source"], done["resources"]) == ("aws.sagemaker", [job.arn])
    detail = done["detail"]
    assert detail["TrainingJobStatusCounters"]["Completed"] == detail["ObjectiveStatusCounters"]["Succeeded"] == 2
    assert detail["TrainingJobDefinition"]["RoleArn"] == role
    assert detail["Tags"] == {"k": "v"}
    assert detail["CreationTime"] > 1_600_000_000_000  # epoch milliseconds
