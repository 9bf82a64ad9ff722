"""One localcloud a process at a time, each with an account of its own. In a process of its own: it changes moto for good."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from localcloud.config import LocalConfig


def apart(work):
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work).result(120)


def one_after_the_other() -> None:
    from localcloud.cloud import AlreadyRunning, LocalCloud

    config = LocalConfig(root=Path.cwd(), lambda_python="python", images=())
    with LocalCloud(config) as first:
        for service, call, name in (("s3", "create_bucket", "Bucket"), ("sqs", "create_queue", "QueueName"), ("iam", "create_user", "UserName")):
            getattr(first.clients(service), call)(**{name: "of-the-first"})
        assert first.clients("s3").list_buckets()["Buckets"] != []
        with pytest.raises(AlreadyRunning, match="stop it first"):
            LocalCloud(config).start()
    with LocalCloud(config) as second:
        assert second.clients("s3").list_buckets()["Buckets"] == []
        assert second.clients("sqs").list_queues().get("QueueUrls", []) == []
        assert second.clients("iam").list_users()["Users"] == []


def test_a_second_one_is_refused_while_the_first_runs_and_begins_empty_after_it():
    apart(one_after_the_other)
