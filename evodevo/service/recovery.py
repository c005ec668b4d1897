"""Which unfinished runs a scheduler resumes when it starts."""

import logging
import os
from pathlib import Path

from evodevo.run.history import load_history
from evodevo.run.setup import JOURNAL
from evodevo.run.view import runs_in
from evodevo.service.succession import following

logger = logging.getLogger("evodevo.service")


def unfinished(runs_dir: Path) -> list[str]:
    """The unfinished runs of this user, and those whose next phase has not begun.

    Those of others are left alone: their configs name code to run.
    """
    found = []
    for name in runs_in(runs_dir):
        journal = runs_dir / name / JOURNAL
        try:
            if journal.stat().st_uid != os.geteuid():
                logger.warning("run %s belongs to another user and is not resumed", name)
                continue
            history = load_history(journal)
        except Exception as why:  # whatever is wrong with one run, the others go on
            logger.error("run %s cannot be carried on: %s", name, why)
            continue
        if history.end is None or following(history, runs_dir):
            found.append(name)
    return found
