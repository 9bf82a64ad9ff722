"""What the Create operations take. A member that is not here, or a value that is not, is refused by name: constraints.accept."""

from typing import Any

from localcloud.constraints import SHOWN

S3_DATA = {"S3DataType": {"S3Prefix", "ManifestFile"}, "S3Uri": None, "S3DataDistributionType": {"FullyReplicated"}}
ONE: dict[str, Any] = {"InstanceType": SHOWN, "InstanceCount": {1}, "VolumeSizeInGB": SHOWN, "VolumeKmsKeyId": SHOWN}
CLUSTER = ONE | {"InstanceCount": set(range(1, 9))}
ALGORITHM = {"TrainingImage": None, "TrainingInputMode": {"File"}, "MetricDefinitions": None}

TRAINING = {
    "RoleArn": None,
    "InputDataConfig": [
        {
            "ChannelName": None, "DataSource": {"S3DataSource": S3_DATA}, "ContentType": None, "CompressionType": {"None"},
            "RecordWrapperType": {"None"}, "InputMode": {"File"},
        }
    ],
    "OutputDataConfig": {"S3OutputPath": None, "KmsKeyId": SHOWN, "CompressionType": {"GZIP"}},
    "ResourceConfig": CLUSTER,
    "StoppingCondition": {"MaxRuntimeInSeconds": None, "MaxWaitTimeInSeconds": None},
    "EnableManagedSpotTraining": None,
    "CheckpointConfig": {"S3Uri": None, "LocalPath": None},
    "EnableNetworkIsolation": None,
    "EnableInterContainerTrafficEncryption": SHOWN,
    "Environment": None,
}  # fmt: skip
"""What a training job and the definition of a tuning job's training jobs have in common."""
TRAINING_JOB = TRAINING | {
    "TrainingJobName": None,
    "HyperParameters": None,
    "AlgorithmSpecification": ALGORITHM | {"EnableSageMakerMetricsTimeSeries": SHOWN, "ContainerEntrypoint": None, "ContainerArguments": None},
    "ResourceConfig": CLUSTER
    | {"KeepAlivePeriodInSeconds": None, "InstancePreferences": [{"InstanceType": None, "InstanceCount": CLUSTER["InstanceCount"]}]},
    "Tags": SHOWN,
}
SCALED = {"Name": None, "MinValue": None, "MaxValue": None, "ScalingType": None}
TUNING_JOB = {
    "HyperParameterTuningJobName": None,
    "HyperParameterTuningJobConfig": {
        "Strategy": None,
        "StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": None, "MaxResource": None}},
        "HyperParameterTuningJobObjective": None,
        "ResourceLimits": {"MaxNumberOfTrainingJobs": None, "MaxParallelTrainingJobs": None},
        "ParameterRanges": {
            "IntegerParameterRanges": [SCALED], "ContinuousParameterRanges": [SCALED], "CategoricalParameterRanges": [{"Name": None, "Values": None}],
        },
        "TrainingJobEarlyStoppingType": None,
        "TuningJobCompletionCriteria": {
            "TargetObjectiveMetricValue": None, "BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": None},
            "ConvergenceDetected": {"CompleteOnConvergence": {"Disabled"}},
        },
        "RandomSeed": None,
    },
    "TrainingJobDefinition": TRAINING | {"DefinitionName": None, "StaticHyperParameters": None, "AlgorithmSpecification": ALGORITHM},
    "Tags": SHOWN,
}  # fmt: skip
S3_INPUT = S3_DATA | {"LocalPath": None, "S3InputMode": {"File"}, "S3CompressionType": {"None"}}
PROCESSING_JOB = {
    "ProcessingJobName": None,
    "ProcessingInputs": [{"InputName": None, "S3Input": S3_INPUT}],
    "ProcessingOutputConfig": {
        "Outputs": [{"OutputName": None, "S3Output": {"S3Uri": None, "LocalPath": None, "S3UploadMode": {"EndOfJob"}}}],
        "KmsKeyId": SHOWN,
    },
    "ProcessingResources": {"ClusterConfig": ONE},
    "StoppingCondition": {"MaxRuntimeInSeconds": None},
    "AppSpecification": {"ImageUri": None, "ContainerEntrypoint": None, "ContainerArguments": None},
    "Environment": None,
    "NetworkConfig": {"EnableNetworkIsolation": None},
    "RoleArn": None,
    "Tags": SHOWN,
}
CONTAINER = {"Image": None, "ModelDataUrl": None, "Environment": None, "Mode": {"SingleModel"}}
MODEL = {
    "ModelName": None, "PrimaryContainer": CONTAINER, "Containers": [CONTAINER], "ExecutionRoleArn": None, "Tags": SHOWN,
    "EnableNetworkIsolation": None,
}  # fmt: skip
ENDPOINT_CONFIG = {
    "EndpointConfigName": None,
    "ProductionVariants": [
        {
            "VariantName": None, "ModelName": None, "InitialInstanceCount": SHOWN, "InstanceType": SHOWN, "InitialVariantWeight": None,
            "ServerlessConfig": {"MemorySizeInMB": SHOWN, "MaxConcurrency": None}, "VolumeSizeInGB": SHOWN,
            "ModelDataDownloadTimeoutInSeconds": SHOWN, "ContainerStartupHealthCheckTimeoutInSeconds": None,
        }
    ],
    "Tags": SHOWN,
    "KmsKeyId": SHOWN,
}  # fmt: skip
ENDPOINT = {"EndpointName": None, "EndpointConfigName": None, "Tags": SHOWN}
UPDATED_ENDPOINT = {"EndpointName": None, "EndpointConfigName": None}
INVOCATION = dict.fromkeys(("EndpointName", "Body", "ContentType", "Accept", "CustomAttributes", "TargetVariant"))
PACKAGE_GROUP = {"ModelPackageGroupName": None, "ModelPackageGroupDescription": None, "Tags": SHOWN}
PACKAGE = dict.fromkeys(
    (
        "ModelPackageGroupName", "ModelPackageDescription", "InferenceSpecification", "ModelApprovalStatus", "MetadataProperties", "ModelMetrics",
        "ClientToken", "CustomerMetadataProperties", "DriftCheckBaselines", "Domain", "Task", "SamplePayloadUrl", "SkipModelValidation", "SourceUri",
        "SecurityConfig", "ModelCard", "ModelLifeCycle", "Tags",
    )
)  # fmt: skip
UPDATED_PACKAGE = dict.fromkeys(
    (
        "ModelPackageArn", "ModelApprovalStatus", "ApprovalDescription", "CustomerMetadataProperties", "CustomerMetadataPropertiesToRemove",
        "InferenceSpecification", "SourceUri", "ModelCard", "ModelLifeCycle", "ClientToken",
    )
)  # fmt: skip
