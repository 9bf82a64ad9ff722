"""How a state fails: an error name, as Retry and Catch match it, and a cause for people."""

UNCATCHABLE = {"States.Runtime", "States.DataLimitExceeded"}
"""States.ALL does not take these."""


class StateFailure(Exception):
    def __init__(self, error: str, cause: str) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause

    def matches(self, names: list[str]) -> bool:
        """Whether a Retrier or Catcher with these ErrorEquals takes this failure.

        Source: docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
        """
        if self.error in UNCATCHABLE:
            return self.error in names
        if self.error in names or "States.ALL" in names:
            return True
        return "States.TaskFailed" in names and self.error != "States.Timeout"


class Stopped(Exception):
    """StopExecution was called, or the machine's own timeout passed."""

    def __init__(self, status: str, error: str, cause: str) -> None:
        super().__init__(f"{status} {error} {cause}")
        self.status, self.error, self.cause = status, error, cause
