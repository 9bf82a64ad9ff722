"""The CloudFormation engine on small stacks: nothing half-done stays."""

import json

import pytest

from localcloud.cloudformation.assembly import DeploymentFailed, deploy_stack
from tests.cloud.conftest import until

pytestmark = [pytest.mark.cloud]


def queue(**properties) -> dict:
    return {"Type": "AWS::SQS::Queue", "Properties": properties}


def template(**resources) -> str:
    outputs = {f"{name}Ref": {"Value": {"Ref": name}} for name in resources}
    return json.dumps({"Resources": resources, "Outputs": outputs})


def queues(cloud, stack: str) -> set[str]:
    return {url.rpartition("/")[2] for url in cloud.clients("sqs").list_queues().get("QueueUrls", []) if f"/{stack}-" in url}


@pytest.fixture
def name(cloud, request):
    stack = request.node.name.replace("_", "-")[:40]
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


def test_lines_logged_after_their_group_was_deleted_are_not_lost_and_nobody_hangs(cloud):
    group, logs = "/test/deleted", cloud.clients("logs")
    cloud.logs.write(group, "s", "before")
    cloud.logs.flush()
    logs.delete_log_group(logGroupName=group)
    cloud.logs.write(group, "s", "after")
    cloud.logs.flush()
    assert [e["message"] for e in logs.get_log_events(logGroupName=group, logStreamName="s")["events"]] == ["after"]


def test_what_localcloud_does_not_do_is_refused_by_name(cloud):
    sagemaker = cloud.clients("sagemaker")
    with pytest.raises(sagemaker.exceptions.ClientError, match="localcloud does not do this: sagemaker:CreateNotebookInstance"):
        sagemaker.create_notebook_instance(NotebookInstanceName="n", InstanceType="ml.t3.medium", RoleArn="arn:aws:iam::123456789012:role/abcdefghij")
