"""Endpoints under test: make models, configs and endpoints, ask them, delete them."""

import io
import json
import tarfile

import boto3
from botocore.config import Config

from localcloud import ACCOUNT, KEY, REGION
from tests.conformance.conftest import allow, until

IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/test-image:1"
EVERYTHING = allow("*", "*")


class Hosting:
    """Makes models, configs and endpoints, and deletes the endpoints."""

    def __init__(self, account):
        self.account, self.sagemaker = account, account.client("sagemaker")
        config = Config(retries={"total_max_attempts": 1})
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": KEY}
        self.runtime = boto3.client("sagemaker-runtime", endpoint_url=account.cloud.endpoint, region_name=REGION, config=config, **keys)
        self.bucket, self.role = account.name("bucket"), account.role("sagemaker.amazonaws.com", EVERYTHING)
        account.client("s3").create_bucket(Bucket=self.bucket)
        self.endpoints = []

    def model(self, **files):
        """A model of files {name: text}; its name."""
        name, buffer = self.account.name("model"), io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for path, text in ({"name": name} | files).items():
                info = tarfile.TarInfo(path)
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
        self.account.client("s3").put_object(Bucket=self.bucket, Key=f"{name}.tar.gz", Body=buffer.getvalue())
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://{self.bucket}/{name}.tar.gz"}
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=self.role, PrimaryContainer=container)
        return name

    def config(self, *variants):
        name = self.account.name("config")
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=list(variants))
        return name

    def simple(self, **files):
        return self.config(variant(self.model(**files)))

    def create(self, config, name=None, **more):
        name = name or self.account.name("endpoint")
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config, **more)
        self.endpoints.append(name)
        return name

    def settled(self, name):
        def done():
            described = self.sagemaker.describe_endpoint(EndpointName=name)
            return described["EndpointStatus"] in ("InService", "Failed") and described

        return until(done)

    def up(self, config):
        name = self.create(config)
        described = self.settled(name)
        assert described["EndpointStatus"] == "InService", described
        return name

    def invoke(self, name, body=None, **more):
        answer = self.runtime.invoke_endpoint(EndpointName=name, Body=json.dumps(body or {}), ContentType="application/json", **more)
        return json.loads(answer["Body"].read()), answer

    def clear(self):
        """Delete the endpoints that are left."""
        for name in self.endpoints:
            if self.sagemaker.list_endpoints(NameContains=name)["Endpoints"]:
                self.sagemaker.delete_endpoint(EndpointName=name)

    def values(self, name, variant, metric, statistic="Sum"):
        dimensions = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": variant}]
        where = {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": dimensions}
        now = self.account.cloud.clock.now()
        query = [{"Id": "m", "MetricStat": {"Metric": where, "Period": 3600, "Stat": statistic}}]
        found = self.account.client("cloudwatch").get_metric_data(MetricDataQueries=query, StartTime=now - 7200, EndTime=now + 7200)
        return found["MetricDataResults"][0]["Values"]


def variant(model, name="primary", **more):
    return {"VariantName": name, "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1} | more


def serverless(model, concurrency=1, memory=1024, **more):
    return {"VariantName": "primary", "ModelName": model, "ServerlessConfig": {"MemorySizeInMB": memory, "MaxConcurrency": concurrency}} | more
