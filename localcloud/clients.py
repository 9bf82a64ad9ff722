"""boto3 clients on localcloud's own endpoint: its engine uses the same calls as a user."""

import threading
from typing import Any

import boto3
from botocore.config import Config

from localcloud import KEY, REGION


class Clients:
    """One cached client a service; boto3 clients may be shared between threads, making them may not."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._session = boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=KEY, region_name=REGION)
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                config = Config(retries={"total_max_attempts": 1}, read_timeout=900, max_pool_connections=64, parameter_validation=True)
                self._clients[service] = self._session.client(service, endpoint_url=self.endpoint, config=config)
            return self._clients[service]

    def environment(self) -> dict[str, str]:
        """What makes boto3 in a child process talk to this localcloud."""
        return {
            "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
