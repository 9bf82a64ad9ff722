"""catalog: the lake as SQL tables, the workgroup that queries them under a limit, and what an analyst may do."""

from typing import Any

from aws_cdk import Aws, CfnOutput, Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.models import Model
from infra.settings import Stage
from infra.stacks.data import DataStack
from tidemill import catalog, keys
from tidemill.catalog import SqlTable

HADOOP = "org.apache.hadoop"
FORMATS: dict[catalog.Format, dict[str, Any]] = {
    "parquet": {
        "input_format": f"{HADOOP}.hive.ql.io.parquet.MapredParquetInputFormat",
        "output_format": f"{HADOOP}.hive.ql.io.parquet.MapredParquetOutputFormat",
        "serde_info": {"serializationLibrary": f"{HADOOP}.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
    },
    "json": {
        "input_format": f"{HADOOP}.mapred.TextInputFormat",
        "output_format": f"{HADOOP}.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
        "serde_info": {"serializationLibrary": "org.openx.data.jsonserde.JsonSerDe"},
    },
}
"""Source: docs.aws.amazon.com/athena/latest/ug/supported-serdes.html"""

QUERYING = ("GetQueryExecution", "GetQueryResults", "GetWorkGroup", "StartQueryExecution", "StopQueryExecution")


class CatalogStack(Stack):
    """One database a stage, four tables a model."""

    def __init__(self, scope: Construct, name: str, *, stage: Stage, models: tuple[Model, ...], data: DataStack) -> None:
        super().__init__(scope, name, description=f"Tidemill {stage.name}: SQL over the lake")
        self._lake = data.lake
        self._database = catalog.database(stage.name)
        database = glue.CfnDatabase(
            self, "Database", catalog_id=Aws.ACCOUNT_ID, database_input={"name": self._database, "description": f"Tidemill {stage.name}"}
        )
        for model in models:
            for table in catalog.tables(model.spec):
                self._table(table, database)
        group = self._workgroup(stage)
        self._analyst(stage, models)
        for key, value in {"CatalogDatabase": self._database, "QueryWorkgroup": group.name}.items():
            CfnOutput(self, key, value=value)

    def _table(self, table: SqlTable, database: glue.CfnDatabase) -> None:
        """Only a description of files: it goes with its model, the files stay."""
        glue.CfnTable(
            self,
            "".join(word.title() for word in table.name.split("_")),
            catalog_id=Aws.ACCOUNT_ID,
            database_name=database.ref,
            table_input=glue.CfnTable.TableInputProperty(
                name=table.name,
                description=table.comment,
                table_type="EXTERNAL_TABLE",
                parameters={"EXTERNAL": "TRUE", "classification": table.format},
                storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
                    columns=[glue.CfnTable.ColumnProperty(name=c.name, type=c.type, comment=c.comment or None) for c in table.columns],
                    location=f"s3://{self._lake.bucket_name}/{table.prefix}",
                    **FORMATS[table.format],
                ),
            ),
        )

    def _workgroup(self, stage: Stage) -> athena.CfnWorkGroup:
        """Its settings are enforced: a query cannot scan more than the limit, nor leave its results elsewhere."""
        properties = athena.CfnWorkGroup
        return athena.CfnWorkGroup(
            self,
            "Workgroup",
            name=catalog.workgroup(stage.name),
            description=f"Queries over the lake of Tidemill {stage.name}",
            # Takes the history of queries along, so only where nothing is to stay.
            recursive_delete_option=not stage.keep_data,
            work_group_configuration=properties.WorkGroupConfigurationProperty(
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                bytes_scanned_cutoff_per_query=stage.query_scan_gb * 10**9,
                engine_version=properties.EngineVersionProperty(selected_engine_version="Athena engine version 3"),
                result_configuration=properties.ResultConfigurationProperty(
                    output_location=f"s3://{self._lake.bucket_name}/{keys.QUERY_RESULTS}",
                    encryption_configuration=properties.EncryptionConfigurationProperty(encryption_option="SSE_S3"),
                ),
            ),
        )

    def _analyst(self, stage: Stage, models: tuple[Model, ...]) -> None:
        """Policies to attach to people's roles. Rejects hold records as they came, so reading them is a policy of its own."""
        names = [model.spec.name for model in models]
        files = [folder for name in names for folder in (keys.rows_prefix(name), keys.upload_facts(name), keys.dataset_facts(name))]
        analyst = iam.ManagedPolicy(
            self,
            "Analyst",
            description=f"Tidemill {stage.name}: query rows, uploads and datasets",
            statements=[*self._querying(stage), *self._reading(files)],
        )
        rejects = iam.ManagedPolicy(
            self,
            "AnalystRejects",
            description=f"Tidemill {stage.name}: query rejected records too, beside Analyst",
            statements=self._reading([keys.rejects_prefix(name) for name in names]),
        )
        CfnOutput(self, "AnalystPolicy", value=analyst.managed_policy_arn)
        CfnOutput(self, "AnalystRejectsPolicy", value=rejects.managed_policy_arn)

    def _querying(self, stage: Stage) -> list[iam.PolicyStatement]:
        """What Athena asks of the caller: docs.aws.amazon.com/athena/latest/ug/security-iam-athena.html and the pages below it."""
        results = self._lake.arn_for_objects(f"{keys.QUERY_RESULTS}*")
        group = f"arn:{Aws.PARTITION}:athena:{Aws.REGION}:{Aws.ACCOUNT_ID}:workgroup/{catalog.workgroup(stage.name)}"
        described = [self._glue("catalog"), self._glue(f"database/{self._database}"), self._glue(f"table/{self._database}/*")]
        return [
            iam.PolicyStatement(
                actions=[f"athena:{verb}" for verb in QUERYING],
                resources=[group],
            ),
            # docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html: Athena looks at the database `default` too.
            iam.PolicyStatement(actions=["glue:GetDatabase"], resources=[self._glue("database/default")]),
            iam.PolicyStatement(actions=[f"glue:{verb}" for verb in ("GetDatabase", "GetTable", "GetTables")], resources=described),
            iam.PolicyStatement(
                actions=["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"], resources=[results]
            ),
            iam.PolicyStatement(actions=["s3:GetBucketLocation"], resources=[self._lake.bucket_arn]),
            self._listing([keys.QUERY_RESULTS]),
        ]

    def _reading(self, prefixes: list[str]) -> list[iam.PolicyStatement]:
        objects = [self._lake.arn_for_objects(f"{prefix}*") for prefix in prefixes]
        return [iam.PolicyStatement(actions=["s3:GetObject"], resources=objects), self._listing(prefixes)]

    def _listing(self, prefixes: list[str]) -> iam.PolicyStatement:
        below = {"StringLike": {"s3:prefix": [f"{prefix}*" for prefix in prefixes]}}
        return iam.PolicyStatement(actions=["s3:ListBucket"], resources=[self._lake.bucket_arn], conditions=below)

    @staticmethod
    def _glue(resource: str) -> str:
        return f"arn:{Aws.PARTITION}:glue:{Aws.REGION}:{Aws.ACCOUNT_ID}:{resource}"
