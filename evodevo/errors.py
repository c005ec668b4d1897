"""The errors that a person is meant to read. Anything else that escapes is a fault of evodevo's."""


class UsageError(Exception):
    """Bad input: one message that names what is wrong and what would be right. Exit status 2."""


class RunFailed(Exception):
    """A run could not go on; the message gives the reason. Exit status 1."""


class Unfit(Exception):
    """A worker cannot take part in a run, for a reason of its own; what it was given goes to others."""
