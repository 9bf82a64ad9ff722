"""Access keys: the one key `localcloud` of the account itself, and those issued to roles."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from localcloud import ACCOUNT, KEY
from localcloud.iam.denials import expired, unknown_key, wrong_token
from localcloud.iam.evaluate import Principal

ROOT = Principal(arn=f"arn:aws:iam::{ACCOUNT}:root", account=ACCOUNT)


@dataclass(frozen=True)
class Credentials:
    """What a process signs with. `expires`: seconds since the epoch, None for never."""

    access_key: str
    secret_key: str
    token: str
    principal: Principal
    expires: float | None = None

    def environment(self) -> dict[str, str]:
        """As environment variables of a child process."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key, "AWS_SESSION_TOKEN": self.token}


class KeyRing:
    """All keys that are accepted. A key's session token is its proof: signatures are not verified."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._issued: dict[str, Credentials] = {}
        self._lock = threading.Lock()

    def issue(self, role_arn: str, session: str, lifetime_s: float | None = None) -> Credentials:
        """A new key for a session of a role."""
        name = role_arn.rpartition("/")[2]
        principal = Principal(arn=role_arn, account=ACCOUNT, session_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}")
        expires = None if lifetime_s is None else self._now() + lifetime_s
        key = f"ASIA{secrets.token_hex(8).upper()}"
        credentials = Credentials(key, secrets.token_urlsafe(30), secrets.token_urlsafe(60), principal, expires)
        with self._lock:
            self._issued[key] = credentials
        return credentials

    def revoke(self, access_key: str) -> None:
        with self._lock:
            self._issued.pop(access_key, None)

    def who(self, access_key: str, token: str, service: str = "") -> Principal:
        """The principal behind a key. Raises UnknownKey."""
        if access_key == KEY:
            return ROOT
        credentials = self._issued.get(access_key)
        if credentials is None:
            raise unknown_key(service, access_key, KEY)
        if not token and service == "s3":  # S3 looks a temporary key up by key and token together
            raise unknown_key(service, access_key, KEY)
        if not secrets.compare_digest(credentials.token.encode(), token.encode()):
            raise wrong_token(service)
        if credentials.expires is not None and self._now() > credentials.expires:
            raise expired(service)
        return credentials.principal
