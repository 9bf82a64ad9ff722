"""SageMaker models, endpoint configs, endpoints and their invocation."""

import json
import threading

import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from tests.conformance.conftest import until
from tests.conformance.hosting import EVERYTHING, IMAGE, Hosting, serverless, variant
from tests.conformance.jobs import refused, watch


@pytest.fixture
def hosting(account):
    made = Hosting(account)
    yield made
    made.clear()


# Endpoints: docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints.html


def test_an_endpoint_comes_into_service_and_answers(account, hosting):
    model = hosting.model()
    config = hosting.config(variant(model))
    name = hosting.create(config)
    described = hosting.settled(name)
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointArn"] == f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{name}"
    shown = described["ProductionVariants"][0]  # API_ProductionVariantSummary.html
    assert {n: shown[n] for n in ("VariantName", "CurrentWeight", "DesiredWeight", "CurrentInstanceCount")} == {
        "VariantName": "primary", "CurrentWeight": 1.0, "DesiredWeight": 1.0, "CurrentInstanceCount": 1,
    }  # fmt: skip
    body, answer = hosting.invoke(name, {"x": 1})
    assert body == {"model": model, "body": {"x": 1}}
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("application/json", "primary")


def test_a_container_that_does_not_pass_the_health_check_fails_the_endpoint(account, hosting):
    # docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html#your-algorithms-inference-algo-ping-requests
    name = hosting.create(hosting.simple(ping="503"))
    until(lambda: account.cloud.clock.advance(61) or hosting.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Failed")
    described = hosting.settled(name)
    assert described["FailureReason"].startswith("The primary container for production variant primary did not pass the ping health check.")
    refused("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.", lambda: hosting.invoke(name))
    refused("ValidationException", "Cannot update in-progress endpoint", lambda: _update(hosting, name, hosting.simple()))


def test_an_error_of_the_model_is_a_model_error_with_its_status(account, hosting):
    # docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html: ModelError, HTTP 424
    name = hosting.up(hosting.simple())
    response = refused("ModelError", "Received client error (418) from primary with message", lambda: hosting.invoke(name, {"status": 418}))
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 418
    assert json.loads(response["OriginalMessage"])["body"] == {"status": 418}
    assert f"/aws/sagemaker/Endpoints/{name}" in response["LogStreamArn"]
    refused("ModelError", "Received server error (500) from primary with message", lambda: hosting.invoke(name, {"status": 500}))
    assert until(lambda: hosting.values(name, "primary", "Invocation5XXErrors")) == [1.0]
    assert hosting.values(name, "primary", "Invocation4XXErrors") == [1.0]


def test_invocations_are_counted_and_timed(account, hosting):
    # docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html#cloudwatch-metrics-endpoint-invocation
    name = hosting.up(hosting.simple())
    hosting.invoke(name)
    hosting.invoke(name, {"sleep_s": 0.2})
    assert hosting.values(name, "primary", "Invocations") == [2.0]
    assert hosting.values(name, "primary", "ModelLatency", "Maximum")[0] >= 200_000  # microseconds


def _update(hosting, name, config, **more):
    hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config, **more)


def test_an_update_switches_without_a_gap(account, hosting):
    # "SageMaker creates new ML instances …, then deletes the old": … /APIReference/API_UpdateEndpoint.html "Blue/green"
    old, new = hosting.model(), hosting.model()
    name = hosting.up(hosting.config(variant(old)))
    answers, failures, over = [], [], threading.Event()

    def ask():
        while not over.is_set():
            try:
                answers.append(hosting.invoke(name, {"sleep_s": 0.05})[0]["model"])
            except ClientError as error:
                failures.append(error)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    until(lambda: len(answers) > 8)
    _update(hosting, name, hosting.config(variant(new)))
    refused("ValidationException", "Cannot update in-progress endpoint", lambda: _update(hosting, name, hosting.simple()))
    until(lambda: new in answers)
    over.set()
    for asker in askers:
        asker.join()
    assert failures == []
    assert set(answers) == {old, new}
    assert "FailureReason" not in hosting.settled(name)
    assert hosting.invoke(name)[0]["model"] == new


def test_a_slow_request_ends_on_the_variant_it_came_to(account, hosting):
    old = hosting.model()
    name = hosting.up(hosting.config(variant(old)))
    answers = []
    slow = threading.Thread(target=lambda: answers.append(hosting.invoke(name, {"sleep_s": 1.5})[0]["model"]))
    slow.start()
    config = hosting.simple()
    _update(hosting, name, config)
    until(lambda: hosting.sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"] == config)
    slow.join()
    assert answers == [old]


def test_an_update_that_fails_goes_back_to_the_old_config(account, hosting):
    # API_DescribeEndpoint.html: RollingBack, and "After the rollback completes, endpoint returns to an InService status"
    name = hosting.create(old := hosting.simple(), name=account.name("endpoint"))
    hosting.settled(name)
    url = watch(account, "SageMaker Endpoint State Change", EndpointName=name)
    _update(hosting, name, hosting.simple(ping="500"))
    until(lambda: account.cloud.clock.advance(61) or hosting.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService")
    described = hosting.settled(name)
    assert described["EndpointConfigName"] == old
    assert "did not pass the ping health check" in described["FailureReason"]
    hosting.invoke(name)
    statuses = [json.loads(message["Body"])["detail"]["EndpointStatus"] for message in account.messages(url, 3)]
    assert sorted(statuses) == ["IN_SERVICE", "ROLLING_BACK", "UPDATING"]


def test_states_of_an_endpoint_are_events_in_capitals(account, hosting):
    # docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html: "EndpointStatus": "IN_SERVICE"
    name = account.name("endpoint")
    url = watch(account, "SageMaker Endpoint State Change", EndpointName=name)
    config = hosting.simple()
    hosting.create(config, name=name, Tags=[{"Key": "k", "Value": "v"}])
    hosting.settled(name)
    hosting.sagemaker.delete_endpoint(EndpointName=name)
    events = {e["detail"]["EndpointStatus"]: e for e in (json.loads(message["Body"]) for message in account.messages(url, 3))}
    assert set(events) == {"CREATING", "IN_SERVICE", "DELETING"}
    detail = events["IN_SERVICE"]["detail"]
    assert events["IN_SERVICE"]["resources"] == [detail["EndpointArn"]]
    assert (detail["EndpointConfigName"], detail["Tags"]) == (config, {"k": "v"})
    assert detail["ProductionVariants"][0]["DesiredWeight"] == 1.0
    assert detail["LastModifiedTime"] >= detail["CreationTime"] > 1_600_000_000_000  # epoch milliseconds


def test_a_deleted_endpoint_is_gone_and_so_is_its_process(account, hosting):
    running = set(account.cloud._processes.running)
    name = hosting.up(hosting.simple())
    hosting.sagemaker.delete_endpoint(EndpointName=name)
    told = f'Could not find endpoint "arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{name}".'
    refused("ValidationException", told, lambda: hosting.sagemaker.describe_endpoint(EndpointName=name))
    refused("ValidationError", "not found", lambda: hosting.invoke(name))
    until(lambda: set(account.cloud._processes.running) <= running)


@pytest.mark.parametrize("healthy", [True, False])
def test_an_endpoint_deleted_while_it_is_created_leaves_nothing(account, hosting, healthy):
    running = set(account.cloud._processes.running)
    config = hosting.simple(ping="503")
    name = hosting.create(config)
    until(lambda: set(account.cloud._processes.running) - running)
    hosting.sagemaker.delete_endpoint(EndpointName=name)
    if healthy:
        (ping,) = account.cloud._folder.glob(f"sagemaker/endpoint-{name}-*/model/ping")
        ping.write_text("200")
        until(lambda: set(account.cloud._processes.running) <= running)
    else:
        until(lambda: account.cloud.clock.advance(61) or set(account.cloud._processes.running) <= running)
    assert hosting.sagemaker.list_endpoints(NameContains=name)["Endpoints"] == []


# Variants: docs.aws.amazon.com/sagemaker/latest/dg/model-ab-testing.html


def test_traffic_goes_by_weight_or_to_the_variant_that_is_named(account, hosting):
    one, two = hosting.model(), hosting.model()
    config = hosting.config(variant(one, "one", InitialVariantWeight=3), variant(two, "two", InitialVariantWeight=1))
    name = hosting.up(config)
    asked = [hosting.invoke(name)[1]["InvokedProductionVariant"] for _ in range(200)]
    assert 120 <= asked.count("one") <= 178  # 150 ± 4.6 standard deviations
    assert {hosting.invoke(name, TargetVariant="two")[0]["model"] for _ in range(5)} == {two}
    refused("ValidationError", "Variant three not found", lambda: hosting.invoke(name, TargetVariant="three"))


# Serverless: docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html


def test_a_serverless_endpoint_takes_four_megabytes(account, hosting):
    # "Maximum payload size: 4 MB"
    name = hosting.up(hosting.config(serverless(hosting.model())))
    room = 4 * 1024 * 1024 - len('{"pad": ""}')
    assert len(hosting.invoke(name, {"pad": "x" * room})[0]["body"]["pad"]) == room
    refused("ValidationError", "Request body has 4194305 bytes", lambda: hosting.invoke(name, {"pad": "x" * (room + 1)}))
    shown = hosting.settled(name)["ProductionVariants"][0]["CurrentServerlessConfig"]
    assert shown == {"MemorySizeInMB": 1024, "MaxConcurrency": 1}


def test_requests_beyond_max_concurrency_are_throttled(account, hosting):
    # "ThrottlingException … HTTP 400": github.com/opensearch-project/ml-commons/issues/2429
    name = hosting.up(hosting.config(serverless(hosting.model(), concurrency=2)))

    def throttled(**body):
        try:
            hosting.invoke(name, body)
        except ClientError as error:
            return error.response

    def occupy():
        """One place for two seconds, once there is one: the question below takes some, too."""
        until(lambda: throttled(sleep_s=2) is None)

    threads = [threading.Thread(target=occupy) for _ in range(2)]
    for thread in threads:
        thread.start()
    response = until(throttled)
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("ThrottlingException", 400)
    for thread in threads:
        thread.join()
    hosting.invoke(name)


def test_serverless_settings_have_limits(account, hosting):
    # docs … serverless-endpoints.html: one variant; API_ProductionVariantServerlessConfig.html: memory in 1 GB steps, concurrency 1–200
    model = hosting.model()
    refused("ValidationException", "exactly one", lambda: hosting.config(serverless(model), variant(model, "b")))
    refused("ValidationException", "MemorySizeInMB", lambda: hosting.config(serverless(model, memory=1500)))
    refused("ValidationException", "less than or equal to 200", lambda: hosting.config(serverless(model, concurrency=201)))
    refused("ValidationException", "less than or equal to 6144", lambda: hosting.config(serverless(model, memory=7168)))


# Models and configs


def test_a_model_without_its_data_is_refused(account, hosting):
    # wording as users of AWS quote it, no page has it
    url = f"s3://{hosting.bucket}/none.tar.gz"
    create = lambda role, url=url: hosting.sagemaker.create_model(  # noqa: E731
        ModelName=account.name("m"), ExecutionRoleArn=role, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": url}
    )
    told = f'Could not access model data at {url}. Please ensure that the role "{hosting.role}" exists'
    refused("ValidationException", told, lambda: create(hosting.role))
    account.client("s3").put_object(Bucket=hosting.bucket, Key="m.tar.gz", Body=b"")
    poor = account.role("sagemaker.amazonaws.com")
    refused("ValidationException", 'the role has "s3:GetObject" permissions', lambda: create(poor, f"s3://{hosting.bucket}/m.tar.gz"))
    wrong = account.role("lambda.amazonaws.com", EVERYTHING)
    refused("ValidationException", "Could not assume role", lambda: create(wrong, f"s3://{hosting.bucket}/m.tar.gz"))


def test_missing_and_doubled_models_and_configs_are_refused_in_awss_words(account, hosting):
    # wording as users of AWS quote it, no page has it
    arn, sagemaker = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}", hosting.sagemaker
    refused("ValidationException", f'Could not find model "{arn}:model/no".', lambda: sagemaker.describe_model(ModelName="no"))
    refused("ValidationException", f'Could not find model "{arn}:model/no".', lambda: hosting.config(variant("no")))
    told = f'Could not find endpoint configuration "{arn}:endpoint-config/no".'
    refused("ValidationException", told, lambda: sagemaker.describe_endpoint_config(EndpointConfigName="no"))
    refused("ValidationException", told, lambda: hosting.create("no"))
    config = hosting.simple()
    again = lambda: sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant(hosting.model())])  # noqa: E731
    refused("ValidationException", f'Cannot create already existing endpoint configuration "{arn}:endpoint-config/{config}".', again)
    name = hosting.create(config)
    refused("ValidationException", "Cannot create already existing endpoint", lambda: hosting.create(config, name=name))


def test_an_endpoint_answers_after_its_config_and_model_are_deleted(account, hosting):
    # API_DeleteModel.html: "deletes only the model entry … it does not delete model artifacts"; a running endpoint goes on
    model = hosting.model()
    config = hosting.config(variant(model))
    name = hosting.up(config)
    hosting.sagemaker.delete_endpoint_config(EndpointConfigName=config)
    hosting.sagemaker.delete_model(ModelName=model)
    assert hosting.invoke(name)[0]["model"] == model


def test_lists_are_filtered_by_name(account, hosting):
    # API_ListModels.html, API_ListEndpointConfigs.html, API_ListEndpoints.html
    config, model = hosting.simple(), hosting.model()
    name = hosting.create(config)
    assert [m["ModelName"] for m in hosting.sagemaker.list_models(NameContains=model)["Models"]] == [model]
    assert [c["EndpointConfigName"] for c in hosting.sagemaker.list_endpoint_configs(NameContains=config)["EndpointConfigs"]] == [config]
    assert [e["EndpointName"] for e in hosting.sagemaker.list_endpoints(NameContains=name)["Endpoints"]] == [name]
    hosting.settled(name)
    assert hosting.sagemaker.list_endpoints(NameContains=name, StatusEquals="Failed")["Endpoints"] == []


# Refused by name


CAPTURE = {"InitialSamplingPercentage": 5, "DestinationS3Uri": "s3://b/x", "CaptureOptions": [{"CaptureMode": "Input"}]}


@pytest.mark.parametrize(
    ("more", "settings", "named"),
    [
        ({"DataCaptureConfig": CAPTURE}, {}, "DataCaptureConfig"),
        ({"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/x"}}}, {}, "AsyncInferenceConfig"),
        ({"ShadowProductionVariants": [{"VariantName": "s", "ModelName": "m"}]}, {}, "ShadowProductionVariants"),
        ({"EnableNetworkIsolation": True}, {}, "EnableNetworkIsolation"),
        ({"VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["s-1"]}}, {}, "VpcConfig"),
        ({}, {"ManagedInstanceScaling": {"Status": "ENABLED"}}, "ProductionVariants.ManagedInstanceScaling"),
        ({}, {"RoutingConfig": {"RoutingStrategy": "RANDOM"}}, "ProductionVariants.RoutingConfig"),
        ({}, {"CoreDumpConfig": {"DestinationS3Uri": "s3://b/x"}}, "ProductionVariants.CoreDumpConfig"),
        ({}, {"EnableSSMAccess": True}, "ProductionVariants.EnableSSMAccess"),
        ({}, {"InferenceAmiVersion": "al2-ami-sagemaker-inference-gpu-2"}, "ProductionVariants.InferenceAmiVersion"),
        (
            {},
            {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 2, "ProvisionedConcurrency": 1}},
            "ServerlessConfig.ProvisionedConcurrency",
        ),
    ],
)
def test_what_an_endpoint_config_here_cannot_do_is_refused_by_name(account, hosting, more, settings, named):
    create = lambda: hosting.sagemaker.create_endpoint_config(  # noqa: E731
        EndpointConfigName=account.name("c"), ProductionVariants=[variant(hosting.model(), **settings)], **more
    )
    refused("NotSupportedByLocalcloud", f"{named} of CreateEndpointConfig", create)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"PrimaryContainer": {"Image": IMAGE, "Mode": "MultiModel"}}, "PrimaryContainer.Mode=MultiModel"),
        ({"PrimaryContainer": {"Image": IMAGE, "ModelPackageName": "p"}}, "PrimaryContainer.ModelPackageName"),
        ({"PrimaryContainer": {"Image": IMAGE, "ImageConfig": {"RepositoryAccessMode": "Vpc"}}}, "PrimaryContainer.ImageConfig"),
        (
            {"PrimaryContainer": {"Image": IMAGE, "ModelDataSource": {"S3DataSource": {"S3Uri": "s3://b/x/", "S3DataType": "S3Prefix", "CompressionType": "None"}}}},
            "PrimaryContainer.ModelDataSource",
        ),
        ({"PrimaryContainer": {"Image": IMAGE}, "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["s-1"]}}, "VpcConfig"),
        ({"Containers": [{"Image": IMAGE}, {"Image": IMAGE}]}, "models of several containers"),
    ],
)  # fmt: skip
def test_what_a_model_here_cannot_be_is_refused_by_name(account, hosting, settings, named):
    create = lambda: hosting.sagemaker.create_model(ModelName=account.name("m"), ExecutionRoleArn=hosting.role, **settings)  # noqa: E731
    refused("NotSupportedByLocalcloud", named, create)


def test_deployment_guardrails_and_other_invocations_are_refused_by_name(account, hosting):
    config = hosting.simple()
    name = hosting.up(config)
    policy = {"RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 1}}
    refused("NotSupportedByLocalcloud", "DeploymentConfig of UpdateEndpoint", lambda: _update(hosting, name, config, DeploymentConfig=policy))
    told = "RetainAllVariantProperties of UpdateEndpoint"
    refused("NotSupportedByLocalcloud", told, lambda: _update(hosting, name, config, RetainAllVariantProperties=True))
    refused("NotSupportedByLocalcloud", "DeploymentConfig of CreateEndpoint", lambda: hosting.create(config, DeploymentConfig=policy))
    for parameter in ("TargetModel", "InferenceId", "InferenceComponentName"):
        refused("NotSupportedByLocalcloud", f"{parameter} of InvokeEndpoint", lambda p=parameter: hosting.invoke(name, **{p: "x"}))
    weights = [{"VariantName": "primary", "DesiredWeight": 2}]
    told = "sagemaker:UpdateEndpointWeightsAndCapacities"
    update = lambda: hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=weights)  # noqa: E731
    refused("NotSupportedByLocalcloud", told, update)
    told = "sagemaker-runtime:InvokeEndpointAsync"
    refused("NotSupportedByLocalcloud", told, lambda: hosting.runtime.invoke_endpoint_async(EndpointName=name, InputLocation="s3://b/x"))
