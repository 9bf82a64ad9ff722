"""Glue's data catalog and Athena's workgroups through CloudFormation, and what they ask of a role.

Expectations: docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_Glue.html and AWS_Athena.html;
docs.aws.amazon.com/service-authorization/latest/reference/list_awsglue.html and list_amazonathena.html.
"""

import copy
import json

import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from localcloud.cloudformation.assembly import DeploymentFailed, deploy_stack
from tests.conformance.conftest import allow, until

GLUE = f"arn:aws:glue:{REGION}:{ACCOUNT}"


@pytest.fixture
def name(account, cloud):
    stack = account.name("catalog")
    yield stack
    cloud.clients("cloudformation").delete_stack(StackName=stack)


def resources(name: str) -> dict:
    database = name.replace("-", "_")
    storage = {
        "Columns": [{"Name": "a", "Type": "bigint"}, {"Name": "b", "Type": "string", "Comment": "text"}], "Location": "s3://bucket/rows/",
        "SerdeInfo": {"SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe"},
    }  # fmt: skip
    configuration = {
        "EnforceWorkGroupConfiguration": True, "BytesScannedCutoffPerQuery": 10_000_000,
        "ResultConfiguration": {"OutputLocation": "s3://bucket/results/", "EncryptionConfiguration": {"EncryptionOption": "SSE_S3"}},
    }  # fmt: skip
    table = {"Name": "things", "TableType": "EXTERNAL_TABLE", "Parameters": {"classification": "json"}, "StorageDescriptor": storage}
    return {
        "D": {"Type": "AWS::Glue::Database", "Properties": {"CatalogId": ACCOUNT, "DatabaseInput": {"Name": database}}},
        "T": {"Type": "AWS::Glue::Table", "Properties": {"CatalogId": ACCOUNT, "DatabaseName": {"Ref": "D"}, "TableInput": table}},
        "W": {"Type": "AWS::Athena::WorkGroup", "Properties": {"Name": name, "WorkGroupConfiguration": configuration, "RecursiveDeleteOption": True}},
    }


def text(resources: dict) -> str:
    return json.dumps({"Resources": resources, "Outputs": {key: {"Value": {"Ref": key}} for key in resources}})


def changed(resources: dict, logical_id: str, path: str, value) -> str:
    """The template with one property changed; `path` is dotted."""
    other = copy.deepcopy(resources)
    node, *names = other[logical_id]["Properties"], *path.split(".")
    for step in names[:-1]:
        node = node[step]
    node[names[-1]] = value
    return text(other)


def test_what_a_template_declares_is_there_and_goes_with_its_stack(cloud, name):
    database = name.replace("-", "_")
    outputs = deploy_stack(name, text(resources(name)), cloud.clients, {})
    assert outputs == {"D": database, "T": "things", "W": name}
    table = cloud.clients("glue").get_table(DatabaseName=database, Name="things")["Table"]
    assert [(c["Name"], c["Type"]) for c in table["StorageDescriptor"]["Columns"]] == [("a", "bigint"), ("b", "string")]
    group = cloud.clients("athena").get_work_group(WorkGroup=name)["WorkGroup"]
    assert group["Configuration"]["BytesScannedCutoffPerQuery"] == 10_000_000
    assert group["Configuration"]["EnforceWorkGroupConfiguration"] is True
    cloud.clients("cloudformation").delete_stack(StackName=name)
    until(lambda: name not in {w["Name"] for w in cloud.clients("athena").list_work_groups()["WorkGroups"]})
    until(lambda: database not in {d["Name"] for d in cloud.clients("glue").get_databases()["DatabaseList"]})


def test_a_new_column_is_an_update_in_place(cloud, name):
    declared = resources(name)
    deploy_stack(name, text(declared), cloud.clients, {})
    deploy_stack(name, changed(declared, "T", "TableInput.StorageDescriptor.Columns", [{"Name": "c", "Type": "double"}]), cloud.clients, {})
    table = cloud.clients("glue").get_table(DatabaseName=name.replace("-", "_"), Name="things")["Table"]
    assert [c["Name"] for c in table["StorageDescriptor"]["Columns"]] == ["c"]


@pytest.mark.parametrize(
    ("logical_id", "path", "value", "told"),
    [
        ("W", "WorkGroupConfiguration.BytesScannedCutoffPerQuery", 20_000_000, "WorkGroupConfiguration"),
        ("T", "TableInput.Name", "others", "another TableInput.Name than things"),
    ],
)
def test_a_change_that_is_not_done_is_refused_by_name(cloud, name, logical_id, path, value, told):
    declared = resources(name)
    deploy_stack(name, text(declared), cloud.clients, {})
    with pytest.raises((DeploymentFailed, ClientError), match=told):
        deploy_stack(name, changed(declared, logical_id, path, value), cloud.clients, {})


def test_an_unknown_property_is_an_error_before_anything_is_touched(cloud, name):
    declared = resources(name)
    declared["T"]["Properties"]["TableInput"]["PartitionKeys"] = [{"Name": "day", "Type": "date"}]
    with pytest.raises(ClientError, match=r"TableInput\.PartitionKeys"):
        cloud.clients("cloudformation").create_stack(StackName=name, TemplateBody=text(declared))
    assert name.replace("-", "_") not in {d["Name"] for d in cloud.clients("glue").get_databases()["DatabaseList"]}


@pytest.mark.parametrize(
    ("granted", "allowed"),
    [
        (["catalog", "database/{db}", "table/{db}/things"], True),
        (["catalog", "database/{db}", "table/{db}/*"], True),
        (["database/{db}", "table/{db}/things"], False),
        (["catalog", "table/{db}/things"], False),
        (["catalog", "database/{db}", "table/{db}/others"], False),
    ],
)
def test_a_table_asks_for_its_catalog_and_its_database_too(account, cloud, name, granted, allowed):
    """docs.aws.amazon.com/glue/latest/dg/glue-specifying-resource-arns.html: a call needs permission on the resource and all its ancestors."""
    database = name.replace("-", "_")
    deploy_stack(name, text(resources(name)), cloud.clients, {})
    role = account.role("lambda.amazonaws.com", allow("glue:GetTable", [f"{GLUE}:{each.format(db=database)}" for each in granted]))
    glue = account.acting(role)("glue")
    if allowed:
        assert glue.get_table(DatabaseName=database, Name="things")["Table"]["Name"] == "things"
    else:
        with pytest.raises(ClientError, match="AccessDenied"):
            glue.get_table(DatabaseName=database, Name="things")


def test_a_role_queries_in_its_own_workgroup_only(account, cloud, name):
    deploy_stack(name, text(resources(name)), cloud.clients, {})
    role = account.role("lambda.amazonaws.com", allow("athena:StartQueryExecution", f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup/{name}"))
    athena = account.acting(role)("athena")
    assert athena.start_query_execution(QueryString="select 1", WorkGroup=name)["QueryExecutionId"]
    with pytest.raises(ClientError, match="AccessDenied"):
        athena.start_query_execution(QueryString="select 1", ResultConfiguration={"OutputLocation": "s3://bucket/"})
