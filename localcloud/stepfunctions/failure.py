"""How a state fails: an error name, as Retry and Catch match it, and a cause for people."""


class StateFailure(Exception):
    def __init__(self, error: str, cause: str) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause

    def matches(self, names: list[str]) -> bool:
        """Whether a Retrier or Catcher with these ErrorEquals takes this failure.

        A task's result that is too large is taken by States.ALL: the page says otherwise, AWS does it (localstack's
        recording of AWS, error_handling/test_states_errors.snapshot.json). A state's own output that is too large ends
        the execution before anybody is asked.
        Source: docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
        """
        if self.error == "States.Runtime":
            return False
        if self.error in names or "States.ALL" in names:
            return True
        return "States.TaskFailed" in names and self.error != "States.Timeout"


class QueryFailure(StateFailure):
    """An expression went wrong; `field` is its place in the state."""

    def __init__(self, cause: str, field: str) -> None:
        super().__init__("States.QueryEvaluationError", cause)
        self.field = field


class Stopped(Exception):
    """StopExecution was called, a sibling branch failed, or the machine's own timeout passed."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status
