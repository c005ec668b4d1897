"""Define the errors that users are meant to read; any other exception is a bug in evodevo."""


class UsageError(Exception):
    """Raised for bad input; the message says what is wrong and what would be valid. Exit status 2.

    `shell` is the message for the command line, if its advice differs from that for Python.
    """

    def __init__(self, message: str, shell: str | None = None) -> None:
        super().__init__(message)
        self.shell = message if shell is None else shell


class RunFailed(Exception):
    """Raised when a run cannot continue; the message gives the reason. Exit status 1."""


class Unfit(Exception):
    """Raised by a task on a worker that must not work for the task's run; the message gives the reason.

    The worker gets no more work from that run while it stays connected, and no attempt is charged.
    """
