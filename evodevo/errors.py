"""The errors that a person is meant to read. Anything else that escapes is a fault of evodevo's."""


class UsageError(Exception):
    """Bad input: one message that names what is wrong and what would be right. Exit status 2.

    `shell` is the same for somebody at the command line, where the advice differs.
    """

    def __init__(self, message: str, shell: str | None = None) -> None:
        super().__init__(message)
        self.shell = message if shell is None else shell


class RunFailed(Exception):
    """A run could not go on; the message gives the reason. Exit status 1."""


class Unfit(Exception):
    """Raised by a task on a worker that must take no part in the task's run; the message gives the reason.

    The worker gets no more work from that run as long as it is connected, and no attempt is charged.
    """
