"""The catalog as it is deployed: tables over the lake, a workgroup with a limit, and what its policies let an analyst read."""

import json

import pytest

from localcloud import ACCOUNT, REGION
from localcloud.iam.evaluate import Principal, Request, decide
from localcloud.iam.policy import Statement, parse
from tests.cloud.conftest import ROOT, Deployment
from tidemill import catalog
from tidemill.spec import load_spec

pytestmark = [pytest.mark.cloud]

ANALYST = Principal(arn=f"arn:aws:iam::{ACCOUNT}:role/analyst", account=ACCOUNT)


def policy(stage: Deployment, *outputs: str) -> tuple[Statement, ...]:
    iam, found = stage.client("iam"), []
    for output in outputs:
        arn = stage.outputs[output]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        found += parse(document if isinstance(document, str) else json.dumps(document), output)
    return tuple(found)


def test_every_table_describes_files_of_the_lake(stage):
    database = stage.outputs["CatalogDatabase"]
    found = {table["Name"]: table for table in stage.client("glue").get_tables(DatabaseName=database)["TableList"]}
    declared = catalog.tables(load_spec(ROOT / "models/flights/model.toml"))
    assert set(found) == {table.name for table in declared}
    for table in declared:
        storage = found[table.name]["StorageDescriptor"]
        assert storage["Location"] == f"s3://{stage.outputs['LakeBucket']}/{table.prefix}"
        assert [(column["Name"], column["Type"]) for column in storage["Columns"]] == [(column.name, column.type) for column in table.columns]


def test_the_workgroup_enforces_a_limit_and_where_results_go(stage):
    configuration = stage.client("athena").get_work_group(WorkGroup=stage.outputs["QueryWorkgroup"])["WorkGroup"]["Configuration"]
    assert configuration["EnforceWorkGroupConfiguration"] is True
    assert configuration["BytesScannedCutoffPerQuery"] == 100 * 10**9
    assert configuration["ResultConfiguration"]["OutputLocation"] == f"s3://{stage.outputs['LakeBucket']}/query_results/"


def test_results_of_queries_and_old_versions_expire(stage):
    rules = stage.client("s3").get_bucket_lifecycle_configuration(Bucket=stage.outputs["LakeBucket"])["Rules"]
    expiring = {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in rules if "Expiration" in rule}
    assert expiring == {"query_results/": 1}
    assert all(rule["NoncurrentVersionExpiration"]["NoncurrentDays"] == 1 for rule in rules)


READS = {
    "flights/rows/p/train.parquet": ("analyst", "with rejects"),
    "flights/catalog/uploads/u.json": ("analyst", "with rejects"),
    "flights/catalog/datasets/0001.json": ("analyst", "with rejects"),
    "flights/rejects/p/rejects.parquet": ("with rejects",),
    "flights/runs/0001/train/model.tar.gz": (),
    "flights/code/c/flights/model.toml": (),
    "other/rows/p/train.parquet": (),
    "query_results/a.csv": ("analyst", "with rejects"),
}
"""Key of the lake → who may read it."""


@pytest.mark.parametrize("key", READS)
def test_an_analyst_reads_rows_and_facts_and_rejects_only_by_a_policy_of_their_own(stage, key):
    granted = {"analyst": policy(stage, "AnalystPolicy"), "with rejects": policy(stage, "AnalystPolicy", "AnalystRejectsPolicy")}
    request = Request(ANALYST, "s3:GetObject", f"arn:aws:s3:::{stage.outputs['LakeBucket']}/{key}", {})
    assert tuple(who for who, statements in granted.items() if decide(request, statements).allowed) == READS[key]


def test_an_analyst_queries_in_the_workgroup_and_writes_nothing_but_results(stage):
    statements = policy(stage, "AnalystPolicy", "AnalystRejectsPolicy")

    def may(action: str, resource: str) -> bool:
        return decide(Request(ANALYST, action, resource, {}), statements).allowed

    groups = f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup"
    assert may("athena:StartQueryExecution", f"{groups}/tidemill-local")
    assert not may("athena:StartQueryExecution", f"{groups}/primary")
    bucket = f"arn:aws:s3:::{stage.outputs['LakeBucket']}"
    assert may("s3:PutObject", f"{bucket}/query_results/a.csv")
    assert not may("s3:PutObject", f"{bucket}/flights/rows/p/train.parquet")
    assert not may("s3:GetObject", f"arn:aws:s3:::{stage.outputs['LandingBucket']}/flights/data/a.csv")
    assert not may("glue:UpdateTable", f"arn:aws:glue:{REGION}:{ACCOUNT}:table/tidemill_local/flights_rows")
