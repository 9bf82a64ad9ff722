"""CloudWatch Logs as localcloud's own services write them, and the front's refusals."""

import pytest


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
