"""Attribute a lost attempt to the workload or to the infrastructure that it ran on. Pure."""

import errno
from typing import Literal

from evodevo.run.checkpoints import CheckpointError

Cause = Literal["own", "raised", "worker", "disk"]
"""own: a limit was exceeded. raised: the workload may have raised the error. worker: the process was lost.
disk: a disk, a checkpoint store or the network failed. Only the first two can count against a member."""

INFRASTRUCTURE = frozenset(
    {
        errno.EAGAIN,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EDQUOT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EIO,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOLCK,
        errno.ENOLINK,
        errno.ENOSPC,
        errno.EPIPE,
        errno.EREMOTEIO,
        errno.EROFS,
        errno.ESHUTDOWN,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
"""Errors of disks, file systems and networks, which are unlikely to recur at the next attempt."""


def cause_of(why: BaseException) -> Cause:
    """Return the cause of an exception that ended an attempt.

    A `TimeoutError` that no system call raised comes from `limits.epoch_timeout_s`.
    """
    if isinstance(why, CheckpointError | ConnectionError):
        return "disk"
    if isinstance(why, TimeoutError) and why.errno is None:
        return "own"
    return "disk" if isinstance(why, OSError) and why.errno in INFRASTRUCTURE else "raised"
