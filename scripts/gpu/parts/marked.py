"""Run the tests marked `gpu`, and report each when it ends.

Only files that mention the marker are collected: others may import missing packages.
"""

import sys
from typing import Any

import pytest
from part import REPOSITORY, arguments, found


class Reporter:
    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            facts = {"test": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 1)}
            if report.skipped:
                facts["why"] = report.longrepr[2]
            elif report.failed:
                facts["why"] = report.longreprtext.strip().splitlines()[-1]
            found(**facts)


def main() -> int:
    arguments(__doc__)
    files = [
        str(path) for path in sorted(REPOSITORY.glob("tests/**/test_*.py")) if "mark.gpu" in path.read_text()
    ]
    return int(pytest.main(["-m", "gpu", "-v", *files], plugins=[Reporter()]))


if __name__ == "__main__":
    sys.exit(main())
