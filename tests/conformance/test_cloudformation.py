"""CloudFormation on small stacks: nothing half-done stays, nothing unknown is let in. The CDK CLI's own test is tests/long/test_cdk_cli.py.

Where no other page is named, expectations come from docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacks.html.
"""

import json

import pytest

from localcloud import ACCOUNT, REGION
from localcloud.cloudformation.assembly import DeploymentFailed, deploy_stack
from localcloud.cloudformation.types import KNOWN
from localcloud.faults import Fault
from tests.conformance.conftest import allow, until


def queue(**properties) -> dict:
    return {"Type": "AWS::SQS::Queue", "Properties": properties}


def template(**resources) -> str:
    outputs = {f"{name}Ref": {"Value": {"Ref": name}} for name in resources}
    return json.dumps({"Resources": resources, "Outputs": outputs})


def queues(cloud, stack: str) -> set[str]:
    return {url.rpartition("/")[2] for url in cloud.clients("sqs").list_queues().get("QueueUrls", []) if f"/{stack}-" in url}


@pytest.fixture
def name(account, cloud):
    stack = account.name("stack")
    yield stack
    cloud.clients("cloudformation").delete_stack(StackName=stack)


def status(cloud, name: str) -> str:
    return cloud.clients("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]


def test_a_failed_create_leaves_nothing(cloud, name):
    broken = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {"FunctionName": "no-such", "EventSourceArn": {"Fn::GetAtt": ["Good", "Arn"]}}}
    with pytest.raises(DeploymentFailed, match=r"Broken: .*Function not found"):
        deploy_stack(name, template(Good=queue(), Broken=broken), cloud.clients, {})
    assert status(cloud, name) == "ROLLBACK_COMPLETE"
    assert queues(cloud, name) == set()


def test_a_failed_update_puts_everything_back(cloud, name):
    deploy_stack(name, template(Good=queue(VisibilityTimeout=30)), cloud.clients, {})
    broken = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {"FunctionName": "no-such", "EventSourceArn": {"Fn::GetAtt": ["New", "Arn"]}}}
    with pytest.raises(DeploymentFailed):
        deploy_stack(name, template(Good=queue(VisibilityTimeout=60), New=queue(), Broken=broken), cloud.clients, {})
    assert status(cloud, name) == "UPDATE_ROLLBACK_COMPLETE"
    urls = [u for u in cloud.clients("sqs").list_queues()["QueueUrls"] if f"/{name}-" in u]
    assert len(urls) == 1
    assert cloud.clients("sqs").get_queue_attributes(QueueUrl=urls[0], AttributeNames=["VisibilityTimeout"])["Attributes"] == {
        "VisibilityTimeout": "30"
    }


def test_a_replacement_reaches_those_who_refer_to_it_and_the_old_one_goes(cloud, name):
    def text(queue_name: str) -> str:
        reader = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": f"/{name}", "Type": "String", "Value": {"Fn::GetAtt": ["Q", "QueueName"]}}}
        return template(Q=queue(QueueName=queue_name), Reader=reader)

    deploy_stack(name, text(f"{name}-one"), cloud.clients, {})
    deploy_stack(name, text(f"{name}-two"), cloud.clients, {})
    assert cloud.clients("ssm").get_parameter(Name=f"/{name}")["Parameter"]["Value"] == f"{name}-two"
    assert queues(cloud, name) == {f"{name}-two"}


def test_what_a_template_no_longer_has_is_deleted_and_no_change_is_no_update(cloud, name):
    deploy_stack(name, template(A=queue(), B=queue()), cloud.clients, {})
    deploy_stack(name, template(A=queue()), cloud.clients, {})
    assert len(queues(cloud, name)) == 1
    client = cloud.clients("cloudformation")
    with pytest.raises(client.exceptions.ClientError, match="No updates are to be performed"):
        client.update_stack(StackName=name, TemplateBody=template(A=queue()))


def test_an_unknown_property_is_refused_before_anything_is_touched(cloud, name):
    client = cloud.clients("cloudformation")
    with pytest.raises(client.exceptions.ClientError, match=r"Resources\.B\.Properties\.Colour"):
        client.create_stack(StackName=name, TemplateBody=template(A=queue(), B=queue(Colour="red")))
    assert name not in {s["StackName"] for s in client.describe_stacks()["Stacks"]}
    assert queues(cloud, name) == set()


def test_a_bucket_with_objects_is_not_deleted_and_says_so(cloud, name):
    outputs = deploy_stack(name, template(B={"Type": "AWS::S3::Bucket", "Properties": {}}), cloud.clients, {})
    s3, client = cloud.clients("s3"), cloud.clients("cloudformation")
    s3.put_object(Bucket=outputs["BRef"], Key="k", Body=b"x")
    client.delete_stack(StackName=name)
    until(lambda: status(cloud, name) != "DELETE_IN_PROGRESS")
    assert status(cloud, name) == "DELETE_FAILED"
    assert "BucketNotEmpty" in client.describe_stacks(StackName=name)["Stacks"][0]["StackStatusReason"]
    s3.delete_object(Bucket=outputs["BRef"], Key="k")


# Change sets: docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-changesets.html


def test_a_change_set_says_what_it_would_do_and_does_it(cloud, name):
    client = cloud.clients("cloudformation")
    deploy_stack(name, template(A=queue(VisibilityTimeout=30), B=queue()), cloud.clients, {})
    text = template(A=queue(VisibilityTimeout=60), C=queue(QueueName=f"{name}-c"))
    client.create_change_set(StackName=name, ChangeSetName="next", TemplateBody=text)
    described = client.describe_change_set(StackName=name, ChangeSetName="next")
    assert {(c["ResourceChange"]["Action"], c["ResourceChange"]["LogicalResourceId"]) for c in described["Changes"]} == {
        ("Modify", "A"), ("Add", "C"), ("Remove", "B"),
    }  # fmt: skip
    assert f"{name}-c" not in queues(cloud, name)
    client.execute_change_set(StackName=name, ChangeSetName="next")
    until(lambda: status(cloud, name) == "UPDATE_COMPLETE")
    assert f"{name}-c" in queues(cloud, name)


def test_a_change_set_without_changes_fails_and_says_so(cloud, name):
    client = cloud.clients("cloudformation")
    deploy_stack(name, template(A=queue()), cloud.clients, {})
    client.create_change_set(StackName=name, ChangeSetName="same", TemplateBody=template(A=queue()))
    described = client.describe_change_set(StackName=name, ChangeSetName="same")
    assert (described["Status"], described["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert "didn't contain changes" in described["StatusReason"]


def test_change_sets_of_one_name_belong_to_their_stacks(cloud, name):
    client = cloud.clients("cloudformation")
    for stack in (name, f"{name}-two"):
        client.create_change_set(StackName=stack, ChangeSetName="same", ChangeSetType="CREATE", TemplateBody=template(A=queue()))
    assert {client.describe_change_set(StackName=s, ChangeSetName="same")["StackName"] for s in (name, f"{name}-two")} == {name, f"{name}-two"}


def test_a_refused_change_set_leaves_no_stack_behind(cloud, name):
    client = cloud.clients("cloudformation")
    with pytest.raises(client.exceptions.ClientError, match="AWS::GameLift::Fleet"):
        client.create_change_set(StackName=name, ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=template(F={"Type": "AWS::GameLift::Fleet"}))
    assert name not in {s["StackName"] for s in client.describe_stacks()["Stacks"]}


def test_unknown_nested_properties_are_refused_in_both_branches_of_an_if(cloud, name):
    client = cloud.clients("cloudformation")
    rules = {"Fn::If": ["C", {"Rules": [{"Status": "Enabled", "Transitions": []}]}, {"Ref": "AWS::NoValue"}]}
    text = json.dumps(
        {
            "Conditions": {"C": {"Fn::Equals": ["a", "b"]}},
            "Resources": {"B": {"Type": "AWS::S3::Bucket", "Properties": {"LifecycleConfiguration": rules}}},
        }
    )
    with pytest.raises(client.exceptions.ClientError, match=r"Resources\.B\.Properties\.LifecycleConfiguration\.Rules\[0\]\.Transitions"):
        client.create_stack(StackName=name, TemplateBody=text)


def test_a_stack_whose_creation_was_rolled_back_can_only_be_deleted(cloud, name):
    """docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html (ROLLBACK_COMPLETE)"""
    client = cloud.clients("cloudformation")
    cloud.faults.set(Fault("sqs:CreateQueue", "fail"))
    with pytest.raises(DeploymentFailed, match="injected"):
        deploy_stack(name, template(A=queue()), cloud.clients, {})
    cloud.faults.set()
    with pytest.raises(client.exceptions.ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
        client.update_stack(StackName=name, TemplateBody=template(B=queue()))
    client.delete_stack(StackName=name)
    until(lambda: name not in {s["StackName"] for s in client.describe_stacks()["Stacks"]})


def test_every_resource_has_its_events(cloud, name):
    deploy_stack(name, template(A=queue(), B={**queue(), "DependsOn": "A"}), cloud.clients, {})
    client = cloud.clients("cloudformation")
    stack = client.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    client.delete_stack(StackName=name)
    until(lambda: name not in {s["StackName"] for s in client.describe_stacks()["Stacks"]})
    with pytest.raises(client.exceptions.ClientError, match="does not exist"):
        client.describe_stack_events(StackName=name)
    events = [(e["LogicalResourceId"], e["ResourceStatus"]) for e in client.describe_stack_events(StackName=stack)["StackEvents"]][::-1]
    made = [e for e in events if e[0] in "AB"]
    assert made == [
        ("A", "CREATE_IN_PROGRESS"), ("A", "CREATE_COMPLETE"), ("B", "CREATE_IN_PROGRESS"), ("B", "CREATE_COMPLETE"),
        ("B", "DELETE_IN_PROGRESS"), ("B", "DELETE_COMPLETE"), ("A", "DELETE_IN_PROGRESS"), ("A", "DELETE_COMPLETE"),
    ]  # fmt: skip


# docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-deletionpolicy.html and aws-attribute-updatereplacepolicy.html


def test_policies_keep_what_they_say(cloud, name):
    kept = {**queue(QueueName=f"{name}-one"), "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
    deploy_stack(name, template(A=kept), cloud.clients, {})
    deploy_stack(name, template(A={**kept, "Properties": {"QueueName": f"{name}-two"}}), cloud.clients, {})
    assert queues(cloud, name) == {f"{name}-one", f"{name}-two"}
    client = cloud.clients("cloudformation")
    client.delete_stack(StackName=name)
    until(lambda: name not in {s["StackName"] for s in client.describe_stacks()["Stacks"]})
    assert queues(cloud, name) == {f"{name}-one", f"{name}-two"}


# docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/rules-section-structure.html


def test_a_rule_that_does_not_hold_refuses_the_template(cloud, name):
    rule = {"Assertions": [{"Assert": {"Fn::Contains": [["a", "b"], {"Ref": "P"}]}, "AssertDescription": "P is a or b"}]}
    text = json.dumps({"Parameters": {"P": {"Type": "String"}}, "Rules": {"R": rule}, "Resources": {"A": queue()}})
    client = cloud.clients("cloudformation")
    with pytest.raises(client.exceptions.ClientError, match="P is a or b"):
        client.create_stack(StackName=name, TemplateBody=text, Parameters=[{"ParameterKey": "P", "ParameterValue": "c"}])
    assert queues(cloud, name) == set()
    deploy_stack(name, text, cloud.clients, {"P": "b"})


# docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html


def test_roles_ask_for_a_capability(cloud, name):
    client = cloud.clients("cloudformation")
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}}}
    with pytest.raises(client.exceptions.InsufficientCapabilitiesException, match=r"Requires capabilities : \[CAPABILITY_IAM\]"):
        client.create_stack(StackName=name, TemplateBody=template(R=role))
    role["Properties"]["RoleName"] = name
    with pytest.raises(client.exceptions.InsufficientCapabilitiesException, match=r"\[CAPABILITY_NAMED_IAM\]"):
        client.create_stack(StackName=name, TemplateBody=template(R=role), Capabilities=["CAPABILITY_IAM"])


# docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-exports.html


def exporting(value: str, export: str) -> str:
    return json.dumps({"Resources": {"A": queue()}, "Outputs": {"V": {"Value": value, "Export": {"Name": export}}}})


def test_exports_are_kept_for_those_who_import_them(cloud, name):
    client, export = cloud.clients("cloudformation"), f"{name}:v"
    deploy_stack(name, exporting("one", export), cloud.clients, {})
    reader = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": f"/{name}", "Type": "String", "Value": {"Fn::ImportValue": export}}}
    deploy_stack(f"{name}-reader", template(Reader=reader), cloud.clients, {})
    assert client.list_imports(ExportName=export)["Imports"] == [f"{name}-reader"]
    with pytest.raises(DeploymentFailed, match=f"Export {export} cannot be updated as it is in use by {name}-reader"):
        deploy_stack(name, exporting("two", export), cloud.clients, {})
    with pytest.raises(client.exceptions.ClientError, match=f"Cannot delete export {export} as it is in use by {name}-reader"):
        client.delete_stack(StackName=name)
    with pytest.raises(DeploymentFailed, match=f"Export with name {export} is already exported by stack {name}"):
        deploy_stack(f"{name}-two", exporting("x", export), cloud.clients, {})
    client.delete_stack(StackName=f"{name}-reader")
    until(lambda: client.list_imports(ExportName=export)["Imports"] == [])
    deploy_stack(name, exporting("two", export), cloud.clients, {})


# docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-iam-servicerole.html


def test_a_stack_is_made_with_its_role_and_no_more(account, cloud, name):
    client = cloud.clients("cloudformation")
    role = account.role("cloudformation.amazonaws.com", allow(["sqs:CreateQueue", "sqs:DeleteQueue"], "*"))
    text = template(A=queue(), T={"Type": "AWS::SNS::Topic", "Properties": {}})
    client.create_stack(StackName=name, TemplateBody=text, RoleARN=role)
    until(lambda: status(cloud, name) == "ROLLBACK_COMPLETE")
    assert "is not authorized to perform: sns:createtopic" in str(client.describe_stack_events(StackName=name)["StackEvents"]).lower()
    with pytest.raises(client.exceptions.ClientError, match="is invalid or cannot be assumed"):
        client.create_stack(StackName=f"{name}-x", TemplateBody=text, RoleARN=account.role("lambda.amazonaws.com"))


# Custom resources: docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html

SOURCE = """
import json, urllib.request
SEEN = []
def handler(event, context):
    if "seen" in event:
        return SEEN
    SEEN.append({key: event.get(key) for key in ("RequestType", "ResourceType", "PhysicalResourceId", "ResourceProperties", "OldResourceProperties")})
    answer = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    name = event["ResourceProperties"].get("Name", "one")
    refused = event["RequestType"] + event["ResourceProperties"].get("Version", "") == event["ResourceProperties"].get("Refuse", "")
    answer |= {"Status": "FAILED" if refused else "SUCCESS", "Reason": "as told", "Data": {"Loud": name.upper()}}
    answer["PhysicalResourceId"] = event["PhysicalResourceId"] if event["RequestType"] == "Delete" else name
    urllib.request.urlopen(urllib.request.Request(event["ResponseURL"], json.dumps(answer).encode(), method="PUT")).close()
"""


def custom(function: str, **properties) -> str:
    resource = {"Type": "Custom::Thing", "Properties": {"ServiceToken": function, **properties}}
    return json.dumps({"Resources": {"C": resource}, "Outputs": {"Loud": {"Value": {"Fn::GetAtt": ["C", "Loud"]}}, "Id": {"Value": {"Ref": "C"}}}})


def test_custom_resources_are_created_changed_replaced_and_deleted(account, cloud, name):
    function = account.function(SOURCE, Timeout=20)
    assert deploy_stack(name, custom(function, Name="one", Flag=True, Number=3), cloud.clients, {}) == {"Loud": "ONE", "Id": "one"}
    deploy_stack(name, custom(function, Name="one", Flag=False, Number=4), cloud.clients, {})
    assert deploy_stack(name, custom(function, Name="two", Number=4), cloud.clients, {}) == {"Loud": "TWO", "Id": "two"}
    client = cloud.clients("cloudformation")
    client.delete_stack(StackName=name)
    until(lambda: name not in {s["StackName"] for s in client.describe_stacks()["Stacks"]})
    seen = account.invoke(function, {"seen": True})[0]
    assert [(s["RequestType"], s["PhysicalResourceId"]) for s in seen] == [
        ("Create", None), ("Update", "one"), ("Update", "one"), ("Delete", "one"), ("Delete", "two"),
    ]  # fmt: skip
    assert seen[0]["ResourceType"] == "Custom::Thing"
    assert seen[0]["ResourceProperties"] == {"ServiceToken": function, "Name": "one", "Flag": "true", "Number": "3"}
    assert seen[1]["OldResourceProperties"]["Number"] == "3"
    assert seen[3]["ResourceProperties"]["Name"] == "one"


def test_a_custom_resource_that_fails_rolls_the_stack_back(account, cloud, name):
    function = account.function(SOURCE, Timeout=20)
    deploy_stack(name, custom(function, Name="one", Version="1", Refuse="Update2"), cloud.clients, {})
    with pytest.raises(DeploymentFailed, match="as told"):
        deploy_stack(name, custom(function, Name="one", Version="2", Refuse="Update2"), cloud.clients, {})
    assert status(cloud, name) == "UPDATE_ROLLBACK_COMPLETE"
    assert [s["ResourceProperties"]["Version"] for s in account.invoke(function, {"seen": True})[0]] == ["1", "2", "1"]


def test_a_function_that_raises_instead_of_answering_fails_at_once(account, cloud, name):
    function = account.function("def handler(event, context):\n    raise ValueError('broken')\n")
    with pytest.raises(DeploymentFailed, match="broken"):
        deploy_stack(name, custom(function), cloud.clients, {})


# Changes in place


def test_a_change_that_localcloud_cannot_make_is_refused_not_ignored(cloud, name):
    table = {
        "BillingMode": "PAY_PER_REQUEST", "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    }  # fmt: skip
    deploy_stack(name, template(T={"Type": "AWS::DynamoDB::Table", "Properties": table}), cloud.clients, {})
    changed = table | {"Tags": [{"Key": "a", "Value": "b"}]}
    with pytest.raises(DeploymentFailed, match=r"T: localcloud cannot change Tags of AWS::DynamoDB::Table in place"):
        deploy_stack(name, template(T={"Type": "AWS::DynamoDB::Table", "Properties": changed}), cloud.clients, {})
    assert status(cloud, name) == "UPDATE_ROLLBACK_COMPLETE"


def test_what_is_taken_out_of_a_function_goes_back_to_its_default(account, cloud, name):
    role = account.role("lambda.amazonaws.com")
    code = {"ZipFile": "import os\ndef handler(event, context):\n    return os.environ.get('WORD')\n"}
    base = {"Role": role, "Handler": "index.handler", "Runtime": "python3.13", "Code": code}
    more = {
        "Environment": {"Variables": {"WORD": "here"}},
        "MemorySize": 256,
        "ReservedConcurrentExecutions": 1,
        "Tags": [{"Key": "a", "Value": "b"}],
    }
    function = deploy_stack(name, template(F={"Type": "AWS::Lambda::Function", "Properties": base | more}), cloud.clients, {})["FRef"]
    assert account.invoke(function)[0] == "here"
    deploy_stack(name, template(F={"Type": "AWS::Lambda::Function", "Properties": base}), cloud.clients, {})
    assert account.invoke(function)[0] is None
    described = cloud.clients("lambda").get_function(FunctionName=function)
    assert described["Configuration"]["MemorySize"] == 128
    assert described.get("Tags", {}) == {}
    assert "Concurrency" not in described


def test_every_known_type_says_what_it_knows():
    assert len(KNOWN) >= 28
    assert all(kind.properties for kind in KNOWN.values())


def test_a_physical_name_is_stack_logical_id_and_a_random_end(cloud, name):
    outputs = deploy_stack(name, template(A=queue()), cloud.clients, {})
    assert outputs["ARef"].startswith(f"{cloud.endpoint}/{ACCOUNT}/{name}-A-")
    assert REGION in cloud.clients("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["StackId"]


# What a failure leaves behind. docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html


def test_what_was_half_made_is_taken_back(cloud, name):
    cloud.faults.set(Fault("s3:PutBucketVersioning", "fail"))
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name, "VersioningConfiguration": {"Status": "Enabled"}}}
    with pytest.raises(DeploymentFailed, match="injected"):
        deploy_stack(name, template(B=bucket), cloud.clients, {})
    cloud.faults.set()
    assert name not in {b["Name"] for b in cloud.clients("s3").list_buckets()["Buckets"]}


def test_what_was_half_changed_is_changed_back(account, cloud, name):
    code = {"ZipFile": "def handler(event, context):\n    return 'old'\n"}
    function = {"Role": account.role("lambda.amazonaws.com"), "Handler": "index.handler", "Runtime": "python3.13", "Code": code}
    made = deploy_stack(name, template(F={"Type": "AWS::Lambda::Function", "Properties": function}), cloud.clients, {})["FRef"]
    changed = function | {"Code": {"ZipFile": code["ZipFile"].replace("old", "new")}, "MemorySize": 64}
    with pytest.raises(DeploymentFailed):
        deploy_stack(name, template(F={"Type": "AWS::Lambda::Function", "Properties": changed}), cloud.clients, {})
    assert status(cloud, name) == "UPDATE_ROLLBACK_COMPLETE"
    assert account.invoke(made)[0] == "old"


def test_a_finished_update_is_not_undone_by_its_clean_up(cloud, name):
    """docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html (UPDATE_COMPLETE_CLEANUP_IN_PROGRESS)"""
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}}
    deploy_stack(name, template(B=bucket, Q=queue(QueueName=f"{name}-one")), cloud.clients, {})
    cloud.clients("s3").put_object(Bucket=name, Key="k", Body=b"x")
    outputs = deploy_stack(name, template(Q=queue(QueueName=f"{name}-two")), cloud.clients, {})
    assert outputs["QRef"].endswith("-two")
    assert status(cloud, name) == "UPDATE_COMPLETE"
    assert queues(cloud, name) == {f"{name}-two"}
    events = cloud.clients("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    assert [e["LogicalResourceId"] for e in events if e["ResourceStatus"] == "DELETE_FAILED"] == ["B"]
    cloud.clients("s3").delete_object(Bucket=name, Key="k")


def test_after_a_replacement_users_still_go_before_what_they_use(cloud, name):
    def text(role: str) -> str:
        trust = {"Version": "2012-10-17", "Statement": []}
        grant = {"Version": "2012-10-17", "Statement": [allow("s3:GetObject", "*")]}
        policy = {"PolicyName": "p", "PolicyDocument": grant, "Roles": [{"Ref": "R"}]}
        return template(
            P={"Type": "AWS::IAM::Policy", "Properties": policy},
            R={"Type": "AWS::IAM::Role", "Properties": {"RoleName": role, "AssumeRolePolicyDocument": trust}},
        )

    deploy_stack(name, text(f"{name}-one"), cloud.clients, {})
    deploy_stack(name, text(f"{name}-two"), cloud.clients, {})
    client = cloud.clients("cloudformation")
    client.delete_stack(StackName=name)
    until(lambda: name not in {s["StackName"] for s in client.describe_stacks()["Stacks"]})
    assert [r["RoleName"] for r in cloud.clients("iam").list_roles()["Roles"] if r["RoleName"].startswith(name)] == []


def test_a_busy_stack_is_not_deleted_beside_its_creation(cloud, name):
    client = cloud.clients("cloudformation")
    client.create_stack(StackName=name, TemplateBody=template(**{f"Q{i}": queue() for i in range(30)}))
    with pytest.raises(client.exceptions.ClientError, match="cannot be deleted while in status CREATE_IN_PROGRESS"):
        client.delete_stack(StackName=name)
    until(lambda: status(cloud, name) == "CREATE_COMPLETE")


def test_a_parameter_that_went_away_fails_the_stack_and_does_not_hang_it(cloud, name):
    client, ssm = cloud.clients("cloudformation"), cloud.clients("ssm")
    ssm.put_parameter(Name=f"/{name}", Value="x", Type="String")
    parameter = {"P": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": f"/{name}"}}
    text = json.dumps({"Parameters": parameter, "Resources": {"A": queue(QueueName={"Fn::Sub": f"{name}-${{P}}"})}})
    client.create_change_set(StackName=name, ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=text)
    ssm.delete_parameter(Name=f"/{name}")
    client.execute_change_set(StackName=name, ChangeSetName="c")
    until(lambda: status(cloud, name) == "ROLLBACK_COMPLETE")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"DependsOn": "Typo"}, "no resource Typo"),
        ({"DeletionPolicy": "Retian"}, "Retian is none of"),
        ({"CreationPolicy": {}}, "CreationPolicy: unknown"),
        ({"Properties": {"QueueName": {"Ref": "Nobody"}}}, "unresolved reference Nobody"),
    ],
)
def test_what_leads_nowhere_is_refused_before_anything_is_touched(cloud, name, change, told):
    client = cloud.clients("cloudformation")
    with pytest.raises(client.exceptions.ClientError, match=told):
        client.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"A": queue(), "B": queue() | change}}))
    assert queues(cloud, name) == set()


def test_parameters_keep_to_what_they_allow(cloud, name):
    client = cloud.clients("cloudformation")
    text = json.dumps({"Parameters": {"P": {"Type": "String", "AllowedValues": ["a", "b"]}}, "Resources": {"A": queue()}})
    with pytest.raises(client.exceptions.ClientError, match="Parameter 'P' must be one of AllowedValues"):
        client.create_stack(StackName=name, TemplateBody=text, Parameters=[{"ParameterKey": "P", "ParameterValue": "c"}])
    with pytest.raises(client.exceptions.ClientError, match="localcloud does not do this: DisableRollback True of a stack"):
        client.create_stack(StackName=name, TemplateBody=template(A=queue()), DisableRollback=True)


@pytest.mark.parametrize(("policy", "left"), [("Delete", 0), ("RetainExceptOnCreate", 0), ("Retain", 1)])
def test_only_retain_keeps_what_a_failed_creation_made(cloud, name, policy, left):
    # docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
    broken = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {"FunctionName": "no-such", "EventSourceArn": {"Fn::GetAtt": ["Q", "Arn"]}}}
    with pytest.raises(DeploymentFailed):
        deploy_stack(name, template(Q={**queue(), "DeletionPolicy": policy}, Broken=broken), cloud.clients, {})
    assert status(cloud, name) == "ROLLBACK_COMPLETE"
    assert len(queues(cloud, name)) == left


def test_other_tags_alone_are_an_update(cloud, name):
    # docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_UpdateStack.html: Tags
    client, text = cloud.clients("cloudformation"), template(Q=queue())
    deploy_stack(name, text, cloud.clients, {})
    client.update_stack(StackName=name, TemplateBody=text, Tags=[{"Key": "team", "Value": "a"}])
    until(lambda: status(cloud, name) == "UPDATE_COMPLETE")
    assert client.describe_stacks(StackName=name)["Stacks"][0]["Tags"] == [{"Key": "team", "Value": "a"}]
    for tags in ({"Tags": [{"Key": "team", "Value": "a"}]}, {}):
        with pytest.raises(client.exceptions.ClientError, match="No updates are to be performed"):
            client.update_stack(StackName=name, TemplateBody=text, **tags)


def test_of_two_change_sets_that_create_a_stack_one_does(cloud, name):
    # docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ExecuteChangeSet.html: all other change sets of the stack are deleted
    client = cloud.clients("cloudformation")
    for number in ("one", "two"):
        text = template(Q=queue(QueueName=f"{name}-{number}"))
        client.create_change_set(StackName=name, ChangeSetName=number, ChangeSetType="CREATE", TemplateBody=text)
    with pytest.raises(client.exceptions.ClientError, match="AlreadyExists"):
        client.create_change_set(StackName=name, ChangeSetName="two", ChangeSetType="CREATE", TemplateBody=template(Q=queue()))
    with pytest.raises(client.exceptions.ClientError, match="REVIEW_IN_PROGRESS"):
        client.create_change_set(StackName=name, ChangeSetName="three", TemplateBody=template(Q=queue()))
    client.execute_change_set(StackName=name, ChangeSetName="one")
    until(lambda: status(cloud, name) == "CREATE_COMPLETE")
    with pytest.raises(client.exceptions.ClientError, match="ChangeSetNotFound"):
        client.execute_change_set(StackName=name, ChangeSetName="two")
    with pytest.raises(client.exceptions.ClientError, match="already exists and cannot be created again"):
        client.create_change_set(StackName=name, ChangeSetName="two", ChangeSetType="CREATE", TemplateBody=template(Q=queue()))
    assert queues(cloud, name) == {f"{name}-one"}


def test_secure_strings_are_refused_as_resources_and_as_parameters(cloud, name):
    # docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ssm-parameter.html and …/UserGuide/cloudformation-supplied-parameter-types.html
    client = cloud.clients("cloudformation")
    secret = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "SecureString", "Value": "x"}}
    with pytest.raises(client.exceptions.ClientError, match=r"Resources\.S\.Properties\.Type=SecureString"):
        client.create_stack(StackName=name, TemplateBody=template(S=secret))
    cloud.clients("ssm").put_parameter(Name=f"/{name}/secret", Type="SecureString", Value="x")
    body = json.loads(template(Q=queue())) | {"Parameters": {"P": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": f"/{name}/secret"}}}
    with pytest.raises(client.exceptions.ClientError, match="types not supported by CloudFormation"):
        client.create_stack(StackName=name, TemplateBody=json.dumps(body))


def test_tags_of_an_alarm_follow_the_template(cloud, name):
    def text(**tags: str) -> str:
        properties = {
            "MetricName": "m", "Namespace": "n", "Period": 60, "EvaluationPeriods": 1, "Statistic": "Sum", "Threshold": 1,
            "ComparisonOperator": "GreaterThanThreshold", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        }  # fmt: skip
        return json.dumps({
            "Resources": {"A": {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}}, "Outputs": {"Arn": {"Value": {"Fn::GetAtt": ["A", "Arn"]}}},
        })  # fmt: skip

    deploy_stack(name, text(a="1", b="1"), cloud.clients, {})
    arn = deploy_stack(name, text(b="2", c="1"), cloud.clients, {})["Arn"]
    tags = cloud.clients("cloudwatch").list_tags_for_resource(ResourceARN=arn)["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"b": "2", "c": "1"}


def test_a_topic_goes_back_to_its_own_policy_when_it_is_given_none(cloud, name):
    # docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html: the default policy is the owner's
    sns = cloud.clients("sns")
    topics = {word: {"Type": "AWS::SNS::Topic", "Properties": {}} for word in ("A", "B")}
    statement = {"Sid": "mine", "Effect": "Allow", "Principal": {"Service": "cloudwatch.amazonaws.com"}, "Action": "sns:Publish", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}

    def text(*named: str) -> str:
        policy = {"Type": "AWS::SNS::TopicPolicy", "Properties": {"PolicyDocument": document, "Topics": [{"Ref": word} for word in named]}}
        return template(**topics, **({"P": policy} if named else {}))

    def sids(outputs: dict[str, str]) -> list[str]:
        policies = [json.loads(sns.get_topic_attributes(TopicArn=outputs[f"{word}Ref"])["Attributes"]["Policy"]) for word in ("A", "B")]
        return [policy["Statement"][0]["Sid"] for policy in policies]

    assert sids(deploy_stack(name, text("A", "B"), cloud.clients, {})) == ["mine", "mine"]
    assert sids(deploy_stack(name, text("B"), cloud.clients, {})) == ["__default_statement_ID", "mine"]
    assert sids(deploy_stack(name, text(), cloud.clients, {})) == ["__default_statement_ID"] * 2


def test_a_machine_is_gone_only_when_its_executions_have_ended(account, cloud, name):
    # docs.aws.amazon.com/step-functions/latest/apireference/API_DeleteStateMachine.html
    definition = {"QueryLanguage": "JSONata", "StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 3600, "End": True}}}
    role = account.role("states.amazonaws.com")
    machine = {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"RoleArn": role, "DefinitionString": json.dumps(definition)}}
    arn = deploy_stack(name, template(M=machine), cloud.clients, {})["MRef"]
    stepfunctions = account.client("stepfunctions")
    execution = stepfunctions.start_execution(stateMachineArn=arn)["executionArn"]
    cloud.clients("cloudformation").delete_stack(StackName=name)
    until(lambda: name not in {s["StackName"] for s in cloud.clients("cloudformation").describe_stacks()["Stacks"]})
    assert stepfunctions.describe_execution(executionArn=execution)["status"] == "ABORTED"
    with pytest.raises(stepfunctions.exceptions.StateMachineDoesNotExist):
        stepfunctions.start_execution(stateMachineArn=arn)
