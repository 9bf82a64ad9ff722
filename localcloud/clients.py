"""boto3 clients on localcloud's own endpoint: its engine uses the same calls as a user."""

import threading
from typing import Any

from botocore.config import Config

from localcloud import KEY, REGION
from localcloud.iam.keys import Credentials
from localcloud.models import session as shared_session

_making = threading.Lock()
"""boto3 sessions are not made for threads; all clients come from one."""


class Clients:
    """One cached client a service, signed with one key; boto3 clients may be shared between threads, making them may not."""

    def __init__(self, endpoint: str, credentials: Credentials | None = None, session: Any = None) -> None:
        self.endpoint = endpoint
        self._session = session or shared_session()
        self._credentials = credentials
        self._clients: dict[str, Any] = {}
        self._acting: dict[str, Clients] = {}
        self._lock = threading.Lock()

    def __call__(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                config = Config(retries={"total_max_attempts": 1}, read_timeout=900, max_pool_connections=64, parameter_validation=True)
                with _making:
                    self._clients[service] = self._session.client(service, endpoint_url=self.endpoint, config=config, **self._keys())
            return self._clients[service]

    def acting(self, credentials: Credentials) -> "Clients":
        """The same endpoint under other credentials."""
        with self._lock:
            if credentials.access_key not in self._acting:
                self._acting[credentials.access_key] = Clients(self.endpoint, credentials, self._session)
            return self._acting[credentials.access_key]

    def environment(self, credentials: Credentials | None) -> dict[str, str]:
        """What makes boto3 in a child process talk to this localcloud; without credentials it can ask, and is refused."""
        return (credentials.environment() if credentials else {}) | {
            "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": self.endpoint, "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    def account_environment(self) -> dict[str, str]:
        """The same for a tool of the user's, with the key of the account."""
        return self.environment(None) | {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY}

    def _keys(self) -> dict[str, str]:
        if self._credentials is None:
            return {"aws_access_key_id": KEY, "aws_secret_access_key": KEY}
        c = self._credentials
        return {"aws_access_key_id": c.access_key, "aws_secret_access_key": c.secret_key, "aws_session_token": c.token}
