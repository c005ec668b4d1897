"""Find the unfinished runs that a scheduler resumes when it starts."""

import logging
import os
from pathlib import Path

from evodevo.run.history import load_history
from evodevo.run.setup import JOURNAL
from evodevo.run.view import runs_in
from evodevo.service.succession import following

logger = logging.getLogger("evodevo.service")


def unfinished(runs_dir: Path) -> list[str]:
    """Return this user's runs that are unfinished or whose next phase has not begun.

    Runs of other users are skipped, because a config names code to run.
    """
    found = []
    for name in runs_in(runs_dir):
        journal = runs_dir / name / JOURNAL
        try:
            if journal.stat().st_uid != os.geteuid():
                logger.warning("run %s belongs to another user and is not resumed", name)
                continue
            history = load_history(journal)
        except Exception as why:  # one broken run must not stop the others
            logger.error("run %s cannot be resumed: %s", name, why)
            continue
        if history.end is None or following(history, runs_dir):
            found.append(name)
    return found
