"""Which permission an API operation asks for, and on which resource.

Source: the Service Authorization Reference, docs.aws.amazon.com/service-authorization/latest/reference/. A template is
filled from the operation's parameters; `*` stands for actions without a resource. Operations that are not here are
refused to roles by name: a guess would allow what AWS denies, or the other way round.
"""

ALL = "*"

PREFIXES = {"stepfunctions": "states", "sagemaker-runtime": "sagemaker"}
"""Services whose action prefix is not their name in botocore."""

BUCKET, OBJECT = "arn:aws:s3:::{Bucket}", "arn:aws:s3:::{Bucket}/{Key}"

S3 = {
    "AbortMultipartUpload": ("s3:AbortMultipartUpload", OBJECT),
    "CompleteMultipartUpload": ("s3:PutObject", OBJECT),
    "CreateBucket": ("s3:CreateBucket", BUCKET),
    "CreateMultipartUpload": ("s3:PutObject", OBJECT),
    "DeleteBucket": ("s3:DeleteBucket", BUCKET),
    "DeleteBucketEncryption": ("s3:PutEncryptionConfiguration", BUCKET),
    "DeleteBucketLifecycle": ("s3:PutLifecycleConfiguration", BUCKET),
    "DeleteBucketPolicy": ("s3:DeleteBucketPolicy", BUCKET),
    "DeleteObject": ("s3:DeleteObject", OBJECT),
    "DeleteBucketOwnershipControls": ("s3:PutBucketOwnershipControls", BUCKET),
    "DeleteBucketTagging": ("s3:PutBucketTagging", BUCKET),
    "DeleteObjectTagging": ("s3:DeleteObjectTagging", OBJECT),
    "DeletePublicAccessBlock": ("s3:PutBucketPublicAccessBlock", BUCKET),
    "GetBucketAcl": ("s3:GetBucketAcl", BUCKET),
    "GetBucketEncryption": ("s3:GetEncryptionConfiguration", BUCKET),
    "GetBucketLifecycleConfiguration": ("s3:GetLifecycleConfiguration", BUCKET),
    "GetBucketLocation": ("s3:GetBucketLocation", BUCKET),
    "GetBucketNotificationConfiguration": ("s3:GetBucketNotification", BUCKET),
    "GetBucketOwnershipControls": ("s3:GetBucketOwnershipControls", BUCKET),
    "GetBucketPolicy": ("s3:GetBucketPolicy", BUCKET),
    "GetBucketPolicyStatus": ("s3:GetBucketPolicyStatus", BUCKET),
    "GetBucketTagging": ("s3:GetBucketTagging", BUCKET),
    "GetBucketVersioning": ("s3:GetBucketVersioning", BUCKET),
    "GetObject": ("s3:GetObject", OBJECT),
    "GetObjectAcl": ("s3:GetObjectAcl", OBJECT),
    "GetObjectAttributes": ("s3:GetObjectAttributes", OBJECT),
    "GetObjectTagging": ("s3:GetObjectTagging", OBJECT),
    "GetPublicAccessBlock": ("s3:GetBucketPublicAccessBlock", BUCKET),
    "HeadBucket": ("s3:ListBucket", BUCKET),
    "HeadObject": ("s3:GetObject", OBJECT),
    "ListBuckets": ("s3:ListAllMyBuckets", ALL),
    "ListMultipartUploads": ("s3:ListBucketMultipartUploads", BUCKET),
    "ListObjectVersions": ("s3:ListBucketVersions", BUCKET),
    "ListObjects": ("s3:ListBucket", BUCKET),
    "ListObjectsV2": ("s3:ListBucket", BUCKET),
    "ListParts": ("s3:ListMultipartUploadParts", OBJECT),
    "PutBucketAcl": ("s3:PutBucketAcl", BUCKET),
    "PutBucketEncryption": ("s3:PutEncryptionConfiguration", BUCKET),
    "PutBucketLifecycleConfiguration": ("s3:PutLifecycleConfiguration", BUCKET),
    "PutBucketNotificationConfiguration": ("s3:PutBucketNotification", BUCKET),
    "PutBucketOwnershipControls": ("s3:PutBucketOwnershipControls", BUCKET),
    "PutBucketPolicy": ("s3:PutBucketPolicy", BUCKET),
    "PutBucketTagging": ("s3:PutBucketTagging", BUCKET),
    "PutBucketVersioning": ("s3:PutBucketVersioning", BUCKET),
    "PutObject": ("s3:PutObject", OBJECT),
    "PutObjectAcl": ("s3:PutObjectAcl", OBJECT),
    "PutObjectTagging": ("s3:PutObjectTagging", OBJECT),
    "PutPublicAccessBlock": ("s3:PutBucketPublicAccessBlock", BUCKET),
    "UploadPart": ("s3:PutObject", OBJECT),
}

VERSIONED = {
    "s3:DeleteObject": "s3:DeleteObjectVersion",
    "s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:GetObjectAcl": "s3:GetObjectVersionAcl",
    "s3:GetObjectAttributes": "s3:GetObjectVersionAttributes",
    "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
    "s3:PutObjectAcl": "s3:PutObjectVersionAcl",
    "s3:PutObjectTagging": "s3:PutObjectVersionTagging",
}
"""What the action becomes when the request names a version id."""


def _rows(template: str, *operations: str) -> dict[str, str]:
    return dict.fromkeys(operations, template)


TEMPLATES: dict[str, dict[str, str]] = {
    "athena": _rows("workgroup/{WorkGroup}", "DeleteWorkGroup", "GetWorkGroup", "StartQueryExecution", "UpdateWorkGroup")
    | _rows("workgroup/{Name}", "CreateWorkGroup") | _rows(ALL, "ListWorkGroups"),
    "cloudformation": _rows(
        "stack/{StackName}/*", "ContinueUpdateRollback", "CreateChangeSet", "CreateStack", "DeleteChangeSet", "DeleteStack", "DescribeChangeSet",
        "DescribeEvents", "DescribeStackEvents", "DescribeStackResource", "DescribeStackResources", "DescribeStacks", "ExecuteChangeSet", "GetTemplate",
        "GetTemplateSummary", "ListStackResources", "RollbackStack", "UpdateStack", "UpdateTerminationProtection",
    ) | _rows(ALL, "ListExports", "ListImports", "ListStacks"),
    "cloudwatch": _rows("alarm:{AlarmName}", "DeleteAlarms", "DescribeAlarmHistory", "PutMetricAlarm", "SetAlarmState", "DisableAlarmActions", "EnableAlarmActions")
    | _rows("arn:aws:cloudwatch::{account}:dashboard/{DashboardName}", "DeleteDashboards", "GetDashboard", "PutDashboard")
    | _rows("alarm:*", "DescribeAlarms")
    | _rows(ALL, "GetMetricData", "GetMetricStatistics", "ListDashboards", "ListMetrics", "PutMetricData"),
    "codebuild": _rows("project/{name}", "CreateProject", "DeleteProject", "UpdateProject")
    | _rows("project/{projectName}", "BatchGetBuilds", "ListBuildsForProject", "StartBuild")
    | _rows("project/{names}", "BatchGetProjects"),
    "dynamodb": _rows(
        "table/{TableName}", "ConditionCheckItem", "CreateTable", "DeleteItem", "DeleteTable", "DescribeContinuousBackups", "DescribeTable",
        "DescribeTimeToLive", "GetItem", "PutItem", "Query", "Scan", "UpdateContinuousBackups", "UpdateItem", "UpdateTable", "UpdateTimeToLive",
    ) | _rows("{ResourceArn}", "ListTagsOfResource", "TagResource", "UntagResource") | _rows(ALL, "ListTables"),
    "ecr": _rows(
        "repository/{repositoryName}", "BatchCheckLayerAvailability", "BatchDeleteImage", "BatchGetImage", "CompleteLayerUpload", "CreateRepository",
        "DeleteRepository", "DescribeImages", "GetDownloadUrlForLayer", "InitiateLayerUpload", "ListImages", "PutImage",
        "GetRepositoryPolicy", "PutImageScanningConfiguration", "PutImageTagMutability", "PutLifecyclePolicy", "SetRepositoryPolicy", "UploadLayerPart",
    ) | _rows("repository/{repositoryNames}", "DescribeRepositories")
    | _rows("{resourceArn}", "ListTagsForResource", "TagResource", "UntagResource") | _rows(ALL, "GetAuthorizationToken"),
    "events": _rows(
        "rule/{Rule}", "ListTargetsByRule", "PutTargets", "RemoveTargets",
    ) | _rows("rule/{Name}", "DeleteRule", "DescribeRule", "DisableRule", "EnableRule", "PutRule")
    | _rows("{ResourceARN}", "TagResource", "UntagResource", "ListTagsForResource")
    | _rows("event-bus/{EventBusName}", "PutEvents") | _rows("event-bus/{Name}", "DescribeEventBus") | _rows(ALL, "ListRules", "TestEventPattern"),
    "glue": _rows("database/{Name}", "CreateDatabase", "DeleteDatabase", "GetDatabase", "UpdateDatabase") | _rows("database/*", "GetDatabases")
    | _rows("table/{DatabaseName}/{Name}", "CreateTable", "DeleteTable", "GetTable", "UpdateTable") | _rows("table/{DatabaseName}/*", "GetTables")
    | _rows(
        "job/{JobName}", "BatchStopJobRun", "DeleteJob", "GetJob", "GetJobRun", "GetJobRuns", "StartJobRun", "UpdateJob",
    ) | _rows("job/{Name}", "CreateJob") | _rows("{ResourceArn}", "GetTags", "TagResource", "UntagResource") | _rows("job/*", "GetJobs") | _rows(ALL, "ListJobs"),
    "iam": _rows(
        "arn:aws:iam::{account}:role/{RoleName}", "AttachRolePolicy", "CreateRole", "DeleteRole", "DeleteRolePolicy", "DetachRolePolicy", "GetRole",
        "GetRolePolicy", "ListAttachedRolePolicies", "ListRolePolicies", "ListRoleTags", "PutRolePolicy", "TagRole", "UntagRole", "UpdateAssumeRolePolicy",
        "UpdateRole", "UpdateRoleDescription", "PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary",
    ) | _rows("arn:aws:iam::{account}:policy/{PolicyName}", "CreatePolicy")
    | _rows("{PolicyArn}", "CreatePolicyVersion", "DeletePolicy", "DeletePolicyVersion", "GetPolicy", "GetPolicyVersion", "ListPolicyVersions")
    | _rows(ALL, "ListPolicies", "ListRoles"),
    "kms": _rows(
        "key/{KeyId}", "CancelKeyDeletion", "Decrypt", "DescribeKey", "DisableKey", "DisableKeyRotation", "EnableKey", "EnableKeyRotation", "Encrypt",
        "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GetKeyPolicy", "GetKeyRotationStatus", "ListResourceTags", "PutKeyPolicy",
        "ScheduleKeyDeletion", "TagResource", "UntagResource", "UpdateKeyDescription",
    ) | _rows("arn:aws:kms:{region}:{account}:{AliasName}", "CreateAlias", "DeleteAlias", "UpdateAlias") | _rows(ALL, "CreateKey", "ListAliases", "ListKeys"),
    "lambda": _rows(
        "function:{FunctionName}", "AddPermission", "CreateFunction", "DeleteFunction", "DeleteFunctionConcurrency", "DeleteFunctionEventInvokeConfig",
        "GetFunction", "GetFunctionConcurrency", "GetFunctionConfiguration", "GetPolicy", "Invoke", "PutFunctionConcurrency",
        "PutFunctionEventInvokeConfig", "RemovePermission", "UpdateFunctionCode", "UpdateFunctionConfiguration",
    ) | _rows("{Resource}", "TagResource", "UntagResource")
    | _rows("event-source-mapping:{UUID}", "DeleteEventSourceMapping", "GetEventSourceMapping", "UpdateEventSourceMapping")
    | _rows("layer:{LayerName}", "PublishLayerVersion") | _rows("layer:{LayerName}:{VersionNumber}", "DeleteLayerVersion", "GetLayerVersion")
    | _rows(ALL, "CreateEventSourceMapping", "ListEventSourceMappings", "ListFunctions", "ListLayers"),
    "logs": _rows(
        "log-group:{logGroupName}:log-stream:", "CreateLogGroup", "CreateLogStream", "DeleteLogGroup", "DeleteMetricFilter", "DeleteRetentionPolicy",
        "DescribeLogStreams", "DescribeMetricFilters", "FilterLogEvents", "PutMetricFilter", "PutRetentionPolicy", "TagLogGroup",
    ) | _rows("log-group:{logGroupName}:log-stream:{logStreamName}", "DeleteLogStream", "GetLogEvents", "PutLogEvents")
    | _rows("log-group::log-stream:", "DescribeLogGroups") | _rows("{resourceArn}", "ListTagsForResource", "TagResource", "UntagResource")
    | _rows(
        ALL, "CreateLogDelivery", "DeleteLogDelivery", "DescribeResourcePolicies", "GetLogDelivery", "ListLogDeliveries", "PutResourcePolicy",
        "UpdateLogDelivery",
    ),
    "sagemaker": _rows("training-job/{TrainingJobName}", "CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob")
    | _rows(
        "hyper-parameter-tuning-job/{HyperParameterTuningJobName}", "CreateHyperParameterTuningJob", "DescribeHyperParameterTuningJob",
        "ListTrainingJobsForHyperParameterTuningJob", "StopHyperParameterTuningJob",
    )
    | _rows("processing-job/{ProcessingJobName}", "CreateProcessingJob", "DescribeProcessingJob", "StopProcessingJob")
    | _rows("model/{ModelName}", "CreateModel", "DeleteModel", "DescribeModel")
    | _rows("endpoint-config/{EndpointConfigName}", "CreateEndpointConfig", "DeleteEndpointConfig", "DescribeEndpointConfig")
    | _rows("endpoint/{EndpointName}", "CreateEndpoint", "DeleteEndpoint", "DescribeEndpoint", "InvokeEndpoint", "UpdateEndpoint")
    | _rows("model-package/{ModelPackageName}", "DeleteModelPackage", "DescribeModelPackage")
    | _rows("model-package/{ModelPackageGroupName}/*", "CreateModelPackage") | _rows("{ModelPackageArn}", "UpdateModelPackage")
    | _rows("model-package-group/{ModelPackageGroupName}", "CreateModelPackageGroup", "DeleteModelPackageGroup", "DescribeModelPackageGroup", "ListModelPackages")
    | _rows("{ResourceArn}", "AddTags", "ListTags")
    | _rows(
        ALL, "ListEndpointConfigs", "ListEndpoints", "ListHyperParameterTuningJobs", "ListModelPackageGroups", "ListModels", "ListProcessingJobs",
        "ListTrainingJobs",
    ),
    "sns": _rows(
        "{TopicArn}", "AddPermission", "DeleteTopic", "GetTopicAttributes", "ListSubscriptionsByTopic", "Publish", "PublishBatch", "RemovePermission",
        "SetTopicAttributes", "Subscribe",
    ) | _rows("{ResourceArn}", "ListTagsForResource", "TagResource", "UntagResource") | _rows("{Name}", "CreateTopic")
    | _rows(ALL, "GetSubscriptionAttributes", "ListSubscriptions", "ListTopics", "Unsubscribe"),
    "sqs": _rows(
        "{QueueName}", "AddPermission", "ChangeMessageVisibility", "CreateQueue", "DeleteMessage", "DeleteQueue", "GetQueueAttributes", "GetQueueUrl",
        "ListQueueTags", "PurgeQueue", "ReceiveMessage", "RemovePermission", "SendMessage", "SetQueueAttributes", "TagQueue", "UntagQueue",
    ) | _rows(ALL, "ListQueues"),
    "ssm": _rows("parameter/{Name}", "DeleteParameter", "GetParameter", "GetParameterHistory", "PutParameter")
    | _rows("parameter/{ResourceId}", "AddTagsToResource", "ListTagsForResource", "RemoveTagsFromResource")
    | _rows("parameter/{Names}", "DeleteParameters", "GetParameters") | _rows("parameter/{Path}", "GetParametersByPath") | _rows(ALL, "DescribeParameters"),
    "stepfunctions": _rows(
        "{stateMachineArn}", "DeleteStateMachine", "DescribeStateMachine", "ListExecutions", "StartExecution", "UpdateStateMachine",
    ) | _rows("stateMachine:{name}", "CreateStateMachine") | _rows("{executionArn}", "DescribeExecution", "GetExecutionHistory", "StopExecution")
    | _rows("{resourceArn}", "ListTagsForResource", "TagResource", "UntagResource") | _rows(ALL, "ListStateMachines"),
    "sts": _rows("{RoleArn}", "AssumeRole", "TagSession") | _rows(ALL, "GetCallerIdentity"),
}  # fmt: skip

ACTIONS = {"lambda:Invoke": "lambda:InvokeFunction", "sns:PublishBatch": "sns:Publish"}
"""Where the action is not called as the operation; SQS's batches ask for the action of one message."""

PASSED_ROLES = {
    "cloudformation:ContinueUpdateRollback": ("RoleARN", "cloudformation.amazonaws.com"),
    "cloudformation:CreateChangeSet": ("RoleARN", "cloudformation.amazonaws.com"),
    "cloudformation:CreateStack": ("RoleARN", "cloudformation.amazonaws.com"),
    "cloudformation:DeleteStack": ("RoleARN", "cloudformation.amazonaws.com"),
    "cloudformation:RollbackStack": ("RoleARN", "cloudformation.amazonaws.com"),
    "cloudformation:UpdateStack": ("RoleARN", "cloudformation.amazonaws.com"),
    "codebuild:CreateProject": ("serviceRole", "codebuild.amazonaws.com"),
    "codebuild:UpdateProject": ("serviceRole", "codebuild.amazonaws.com"),
    "events:PutRule": ("RoleArn", "events.amazonaws.com"),
    "events:PutTargets": ("Targets", "events.amazonaws.com"),
    "glue:CreateJob": ("Role", "glue.amazonaws.com"),
    "glue:UpdateJob": ("JobUpdate.Role", "glue.amazonaws.com"),
    "lambda:CreateFunction": ("Role", "lambda.amazonaws.com"),
    "lambda:UpdateFunctionConfiguration": ("Role", "lambda.amazonaws.com"),
    "sagemaker:CreateEndpointConfig": ("ExecutionRoleArn", "sagemaker.amazonaws.com"),
    "sagemaker:CreateHyperParameterTuningJob": ("TrainingJobDefinition.RoleArn", "sagemaker.amazonaws.com"),
    "sagemaker:CreateModel": ("ExecutionRoleArn", "sagemaker.amazonaws.com"),
    "sagemaker:CreateProcessingJob": ("RoleArn", "sagemaker.amazonaws.com"),
    "sagemaker:CreateTrainingJob": ("RoleArn", "sagemaker.amazonaws.com"),
    "stepfunctions:CreateStateMachine": ("roleArn", "states.amazonaws.com"),
    "stepfunctions:UpdateStateMachine": ("roleArn", "states.amazonaws.com"),
}
"""Operations that hand a role to a service, and where it stands in their parameters: they also ask for iam:PassRole on it, with iam:PassedToService."""

TAGGING = {
    "athena": ("athena:TagResource", ("CreateWorkGroup",)),
    "cloudwatch": ("cloudwatch:TagResource", ("PutMetricAlarm",)),
    "dynamodb": ("dynamodb:TagResource", ("CreateTable",)),
    "ecr": ("ecr:TagResource", ("CreateRepository",)),
    "events": ("events:TagResource", ("PutRule",)),
    "glue": ("glue:TagResource", ("CreateJob",)),
    "kms": ("kms:TagResource", ("CreateKey",)),
    "lambda": ("lambda:TagResource", ("CreateFunction",)),
    "logs": ("logs:TagResource", ("CreateLogGroup",)),
    "sagemaker": (
        "sagemaker:AddTags",
        (
            "CreateEndpoint", "CreateEndpointConfig", "CreateHyperParameterTuningJob", "CreateModel", "CreateModelPackage",
            "CreateModelPackageGroup", "CreateProcessingJob", "CreateTrainingJob",
        ),
    ),
    "sns": ("sns:TagResource", ("CreateTopic",)),
    "sqs": ("sqs:TagQueue", ("CreateQueue",)),
    "ssm": ("ssm:AddTagsToResource", ("PutParameter",)),
    "stepfunctions": ("states:TagResource", ("CreateStateMachine",)),
}  # fmt: skip
"""What a request with tags also asks for, where it makes something. IAM names it by the thing: iam:TagRole, iam:TagPolicy."""
