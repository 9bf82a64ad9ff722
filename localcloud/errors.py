"""Errors that localcloud's own services answer with, in AWS's words."""

from moto.core.exceptions import ServiceException


class ServiceError(ServiceException):  # type: ignore[misc]  # moto is untyped
    """An error answer: `code` as AWS names it, and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)


class NotSupported(ServiceError):
    """Something localcloud does not do, refused by name rather than half done."""

    def __init__(self, what: str) -> None:
        super().__init__("NotSupportedByLocalcloud", f"localcloud does not do this: {what}")
