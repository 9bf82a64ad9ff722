"""Lambda's API: configuration, code, layers, permissions, limits; and what localcloud does not do is refused by name."""

import io
import json
import zipfile

import psutil
import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from tests.conformance.conftest import allow, until
from tests.conformance.test_lambda import group, metric

OK = "import os\ndef handler(event, context):\n    return os.getpid()\n"
ASSUMED = "lambda.amazonaws.com"


def zipped(**files: str) -> bytes:
    """A zip; `a__b` is the file a/b.py."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name.replace('__', '/')}.py", text)
    return buffer.getvalue()


def create(account, role: str, source: str = OK, **more) -> str:
    arguments = {
        "FunctionName": account.name("f"),
        "Runtime": "python3.13",
        "Handler": "index.handler",
        "Code": {"ZipFile": zipped(index=source)},
    } | more
    return account.client("lambda").create_function(Role=role, **arguments)["FunctionArn"]


def refused(code: str, match: str = ""):
    """Expects a ClientError with this code."""
    return pytest.raises(ClientError, match=rf"\({code}\)[\s\S]*{match}")


def test_settings_and_variables_reach_the_function(account):
    # docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html: defined runtime environment variables.
    source = "import os\ndef handler(event, context):\n    return {k: os.environ.get(k) for k in event}\n"
    function = account.function(source, MemorySize=256, Environment={"Variables": {"COLOUR": "blue"}})
    name = function.rpartition(":")[2]
    expected = {
        "COLOUR": "blue", "AWS_LAMBDA_FUNCTION_NAME": name, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_REGION": REGION, "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13", "_HANDLER": "index.handler", "TZ": ":UTC",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}", "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    }  # fmt: skip
    assert account.invoke(function, list(expected))[0] == expected


def test_nothing_of_the_callers_own_environment_reaches_the_function(account, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "production")
    function = account.function("import os\ndef handler(event, context):\n    return os.environ.get('AWS_PROFILE')\n")
    assert account.invoke(function) == (None, None)


@pytest.mark.parametrize(
    ("variables", "match"),
    [({"AWS_REGION": "eu-west-1", "AB": "1"}, "reserved keys.*AWS_REGION"), ({"BIG": "x" * 4097}, "exceeded the 4KB limit")],
)
def test_reserved_and_oversized_variables_are_refused(account, variables, match):
    # docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html: reserved variables; all variables together at most 4 KB.
    with refused("InvalidParameterValueException", match):
        account.function(OK, Environment={"Variables": variables})


def test_new_code_and_settings_take_effect_in_new_environments(account):
    # docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
    source = "import os\ndef handler(event, context):\n    return ['{}', os.environ.get('X1'), os.getpid()]\n"
    function, client = account.function(source.replace("{}", "old")), account.client("lambda")
    first = account.invoke(function)[0]
    client.update_function_code(FunctionName=function, ZipFile=zipped(index=source.replace("{}", "new")))
    second = account.invoke(function)[0]
    client.update_function_configuration(FunctionName=function, Environment={"Variables": {"X1": "1"}}, MemorySize=192)
    third = account.invoke(function)[0]
    assert [first[:2], second[:2], third[:2]] == [["old", None], ["new", None], ["new", "1"]]
    assert len({first[2], second[2], third[2]}) == 3
    until(lambda: not psutil.pid_exists(first[2]) and not psutil.pid_exists(second[2]))
    assert client.get_function_configuration(FunctionName=function)["MemorySize"] == 192


def test_code_comes_from_s3_with_the_callers_permission(account):
    # docs.aws.amazon.com/lambda/latest/api/API_FunctionCode.html
    bucket = account.name("code")
    account.client("s3").create_bucket(Bucket=bucket)
    account.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = account.client("s3").put_object(Bucket=bucket, Key="f.zip", Body=zipped(index=OK.replace("os.getpid()", "'old'")))["VersionId"]
    account.client("s3").put_object(Bucket=bucket, Key="f.zip", Body=zipped(index=OK.replace("os.getpid()", "'new'")))
    role, place = account.role(ASSUMED), {"S3Bucket": bucket, "S3Key": "f.zip"}
    assert account.invoke(create(account, role, Code=place))[0] == "new"
    assert account.invoke(create(account, role, Code=place | {"S3ObjectVersion": old}))[0] == "old"
    with refused("InvalidParameterValueException", "Error occurred while GetObject. S3 Error Code: NoSuchKey"):
        create(account, role, Code=place | {"S3Key": "gone.zip"})
    user = account.acting(account.role(ASSUMED, allow("lambda:UpdateFunctionCode", "*")))
    with refused("AccessDeniedException", "Your access has been denied by S3"):
        user("lambda").update_function_code(FunctionName=account.function(OK), **place)


def test_what_is_no_zip_or_too_large_unzipped_is_refused(account):
    # docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 250 MB unzipped, with layers.
    with refused("InvalidParameterValueException", "Could not unzip uploaded file"):
        create(account, account.role(ASSUMED), Code={"ZipFile": b"no zip"})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(262_144_001))
    with refused("InvalidParameterValueException", "Unzipped size must be smaller than 262144000 bytes"):
        create(account, account.role(ASSUMED), Code={"ZipFile": buffer.getvalue()})


def test_layers_are_on_the_path_and_the_last_one_wins(account):
    # docs.aws.amazon.com/lambda/latest/dg/python-layers.html: python/ and python/lib/python3.x/site-packages; adding-layers.html: merged in order.
    client, name = account.client("lambda"), account.name("layer")
    one = client.publish_layer_version(LayerName=name, Content={"ZipFile": zipped(python__colour="NAME = 'red'", python__only="X = 1")})
    site = zipped(**{"python__lib__python3.13__site-packages__colour": "NAME = 'green'"})
    two = client.publish_layer_version(LayerName=name, Content={"ZipFile": site})
    assert (one["Version"], two["Version"], two["LayerVersionArn"]) == (1, 2, f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{name}:2")
    source = "import colour, only\ndef handler(event, context):\n    return colour.NAME\n"
    function = account.function(source, Layers=[one["LayerVersionArn"], two["LayerVersionArn"]])
    assert account.invoke(function) == ("green", None)
    client.update_function_configuration(FunctionName=function, Layers=[two["LayerVersionArn"], one["LayerVersionArn"]])
    assert account.invoke(function) == ("red", None)


def test_a_deleted_layer_version_stays_with_its_functions_and_its_number_is_not_used_again(account):
    # docs.aws.amazon.com/lambda/latest/dg/deleting-layers.html: "any function that already uses the layer version continues to function".
    client, name = account.client("lambda"), account.name("layer")
    content = {"ZipFile": zipped(python__colour="NAME = 'red'")}
    arn = client.publish_layer_version(LayerName=name, Content=content)["LayerVersionArn"]
    function = account.function("import colour\ndef handler(event, context):\n    return colour.NAME\n", Layers=[arn])
    client.delete_layer_version(LayerName=name, VersionNumber=1)
    assert account.invoke(function) == ("red", None)
    assert client.publish_layer_version(LayerName=name, Content=content)["Version"] == 2
    with refused("InvalidParameterValueException", f"Layer version {arn} does not exist"):
        account.function(OK, Layers=[arn])
    with refused("ResourceNotFoundException"):
        client.get_layer_version(LayerName=name, VersionNumber=1)


def test_at_most_five_layers(account):
    # docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    content = {"ZipFile": zipped(python__a="")}
    arns = [account.client("lambda").publish_layer_version(LayerName=account.name("l"), Content=content)["LayerVersionArn"] for _ in range(6)]
    assert account.invoke(account.function(OK, Layers=arns[:5]))[1] is None
    with refused("InvalidParameterValueException"):
        account.function(OK, Layers=arns)


def test_a_request_has_at_most_6_mb_an_event_1_mb(account):
    # docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 6 MB each for request and response, 1 MB asynchronous.
    function, client = account.function("def handler(event, context):\n    return len(event)\n", Timeout=20, MemorySize=512), account.client("lambda")

    def payload(size: int) -> bytes:
        return b'"' + b"x" * (size - 2) + b'"'

    most = client.invoke(FunctionName=function, Payload=payload(6 * 1024 * 1024))
    assert json.loads(most["Payload"].read()) == 6 * 1024 * 1024 - 2
    with pytest.raises(ClientError, match="Request must be smaller than 6291456 bytes for the InvokeFunction operation") as caught:
        client.invoke(FunctionName=function, Payload=payload(6 * 1024 * 1024 + 1))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    client.invoke(FunctionName=function, InvocationType="Event", Payload=payload(1024 * 1024))
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName=function, InvocationType="Event", Payload=payload(1024 * 1024 + 1))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_a_response_has_at_most_6291556_bytes(account):
    # localstack's recording of AWS of 24-11-2025, test_lambda_too_large_response.
    function = account.function("def handler(event, context):\n    return 'x' * (event['bytes'] - 2)\n", Timeout=20, MemorySize=512)
    assert account.invoke(function, {"bytes": 6_291_556})[1] is None
    assert account.invoke(function, {"bytes": 6_291_557}) == (
        {
            "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
            "errorType": "Function.ResponseSizeTooLarge",
        },
        "Unhandled",
    )


def test_a_payload_must_be_json_and_a_dry_run_runs_nothing(account):
    # docs.aws.amazon.com/lambda/latest/api/API_Invoke.html: InvalidRequestContentException; DryRun.
    function, client = account.function(OK), account.client("lambda")
    with refused("InvalidRequestContentException"):
        client.invoke(FunctionName=function, Payload=b"{no json")
    dry = client.invoke(FunctionName=function, InvocationType="DryRun")
    assert (dry["Payload"].read(), dry["StatusCode"], dry["ResponseMetadata"]["HTTPStatusCode"]) == (b"", 204, 204)
    later = client.invoke(FunctionName=account.function(OK), InvocationType="Event")
    assert (later["StatusCode"], later["ResponseMetadata"]["HTTPStatusCode"]) == (202, 202)
    assert metric(account, function, "Invocations") == 0
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName="no-such-function")


def test_a_role_that_lambda_may_not_assume_is_refused(account):
    # docs.aws.amazon.com/lambda/latest/dg/troubleshooting-deployment.html: "The role defined for the function cannot be assumed by Lambda."
    message = "The role defined for the function cannot be assumed by Lambda."
    for role in (account.role("states.amazonaws.com"), f"arn:aws:iam::{ACCOUNT}:role/no-such-role"):
        with refused("InvalidParameterValueException", message):
            create(account, role)
    role = account.role(ASSUMED)
    function = create(account, role)
    with refused("InvalidParameterValueException", message):
        account.client("lambda").update_function_configuration(FunctionName=function, Role=account.role("states.amazonaws.com"))
    name = role.rpartition("/")[2]
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"}]}
    account.client("iam").update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    with refused("AccessDeniedException", message):
        account.invoke(function)


def test_nothing_is_logged_without_permission(account):
    # docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html: the execution role needs logs:CreateLogStream and logs:PutLogEvents.
    function = create(account, account.role(ASSUMED, allow("logs:CreateLogStream", "*")))
    account.client("logs").create_log_group(logGroupName=group(function))
    assert account.invoke(function)[1] is None
    assert account.log(group(function)) == []


def test_lines_go_to_the_log_group_that_was_configured(account):
    # docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-loggroups.html
    place = account.name("/custom/place")
    function = account.function(OK, LoggingConfig={"LogGroup": place})
    account.invoke(function)
    assert account.log(place)[0].startswith("START")


def test_the_functions_own_policy_lets_others_in_and_out_again(account):
    # docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
    function, client = account.function(OK), account.client("lambda")
    guest = account.role(ASSUMED)
    guests = account.acting(guest)("lambda")
    with refused("AccessDeniedException", "is not authorized to perform: lambda:InvokeFunction"):
        guests.invoke(FunctionName=function)
    statement = {"StatementId": "guest", "Action": "lambda:InvokeFunction", "Principal": guest}
    client.add_permission(FunctionName=function, **statement)
    assert guests.invoke(FunctionName=function)["StatusCode"] == 200
    with refused("ResourceConflictException", r"The statement id \(guest\) provided already exists"):
        client.add_permission(FunctionName=function, **statement)
    client.add_permission(
        FunctionName=function, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::b", SourceAccount=ACCOUNT,
    )  # fmt: skip
    policy = {each["Sid"]: each for each in json.loads(client.get_policy(FunctionName=function)["Policy"])["Statement"]}
    assert policy["s3"] == {
        "Sid": "s3", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "lambda:InvokeFunction", "Resource": function,
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"}, "StringEquals": {"AWS:SourceAccount": ACCOUNT}},
    }  # fmt: skip
    client.remove_permission(FunctionName=function, StatementId="guest")
    with refused("AccessDeniedException"):
        guests.invoke(FunctionName=function)


def test_functions_are_listed_in_pages(account):
    # docs.aws.amazon.com/lambda/latest/api/API_ListFunctions.html
    made = {create(account, account.role(ASSUMED)) for _ in range(3)}
    pages = list(account.client("lambda").get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    assert all(len(page["Functions"]) <= 2 for page in pages)
    assert made <= {function["FunctionArn"] for page in pages for function in page["Functions"]}


@pytest.mark.parametrize(
    "unknown",
    [
        {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}},
        {
            "FileSystemConfigs": [
                {"Arn": f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:access-point/fsap-12345678901234567", "LocalMountPath": "/mnt/x"}
            ]
        },
        {"KMSKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k"},
        {"ImageConfig": {"Command": ["x"]}},
        {"SnapStart": {"ApplyOn": "PublishedVersions"}},
        {"Publish": True},
        {"CodeSigningConfigArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:csc-0123456789abcdef0"},
        {"TracingConfig": {"Mode": "Active"}},
        {"LoggingConfig": {"LogFormat": "JSON"}},
        {"LoggingConfig": {"SystemLogLevel": "WARN"}},
        {"Code": {"ImageUri": "i"}, "PackageType": "Image"},
        {"Runtime": "nodejs22.x"},
        {"DeadLetterConfig": {"TargetArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:t"}},
    ],
    ids="/".join,
)
def test_what_localcloud_would_ignore_of_a_function_is_refused_by_name(account, unknown):
    with refused("NotSupportedByLocalcloud"):
        create(account, account.role(ASSUMED), **unknown)


def test_what_says_no_more_than_its_absence_is_accepted(account):
    function = create(
        account, account.role(ASSUMED), Publish=False, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []}, SnapStart={"ApplyOn": "None"},
        TracingConfig={"Mode": "PassThrough"}, LoggingConfig={"LogFormat": "Text"},
    )  # fmt: skip
    assert account.client("lambda").invoke(FunctionName=function, Qualifier="$LATEST")["StatusCode"] == 200
    assert account.client("lambda").invoke(FunctionName=f"{function}:$LATEST")["StatusCode"] == 200
    assert account.client("lambda").invoke(FunctionName=f"{ACCOUNT}:function:{function.rpartition(':')[2]}")["StatusCode"] == 200


@pytest.mark.parametrize(
    ("operation", "arguments", "named"),
    [
        ("invoke", {"Qualifier": "prod"}, "Qualifier"),
        ("invoke", {"ClientContext": "e30="}, "ClientContext"),
        ("delete_function", {"Qualifier": "1"}, "Qualifier"),
        ("get_function", {"Qualifier": "1"}, "Qualifier"),
        ("update_function_code", {"ZipFile": zipped(index=OK), "Publish": True}, "Publish"),
        ("update_function_code", {"ZipFile": zipped(index=OK), "DryRun": True}, "DryRun"),
        ("update_function_configuration", {"VpcConfig": {"SubnetIds": ["subnet-1"]}}, "VpcConfig"),
        ("update_function_configuration", {"RevisionId": "r"}, "RevisionId"),
        ("update_function_configuration", {"Runtime": "nodejs22.x"}, "nodejs22.x"),
        (
            "add_permission",
            {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*", "PrincipalOrgID": "o-1234567890"},
            "PrincipalOrgID",
        ),
        ("add_permission", {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*", "Qualifier": "prod"}, "Qualifier"),
        (
            "put_function_event_invoke_config",
            {"DestinationConfig": {"OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}}},
            "Destination",
        ),
        ("create_alias", {"Name": "prod", "FunctionVersion": "1"}, "CreateAlias"),
        ("publish_version", {}, "PublishVersion"),
        ("put_provisioned_concurrency_config", {"Qualifier": "1", "ProvisionedConcurrentExecutions": 1}, "PutProvisionedConcurrencyConfig"),
        ("create_function_url_config", {"AuthType": "NONE"}, "CreateFunctionUrlConfig"),
    ],
)
def test_parameters_and_operations_that_would_do_nothing_are_refused_by_name(account, operation, arguments, named):
    function = account.function(OK)
    with refused("NotSupportedByLocalcloud", named):
        getattr(account.client("lambda"), operation)(FunctionName=function, **arguments)
    assert account.invoke(function)[1] is None


def test_a_qualifier_in_the_name_is_not_taken_for_the_function(account):
    # docs.aws.amazon.com/lambda/latest/api/API_Invoke.html: name:alias and ARNs with a version are function names, too.
    function = account.function(OK)
    with refused("NotSupportedByLocalcloud", "version or alias prod"):
        account.invoke(f"{function}:prod")
    with refused("ResourceNotFoundException"):
        account.invoke(function.replace(ACCOUNT, "999999999999"))
