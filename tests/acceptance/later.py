"""Another worker of the same installation, whose clock is ahead: `python -m tests.acceptance.later`.

What waits for minutes, such as a release that must not overtake a request of a dead worker, is carried on at once.
"""

import sys
from datetime import timedelta
from pathlib import Path

from quarantine import app
from quarantine.model import now
from tests.testbed.poll import until


def main(config: str, case_id: str, seconds: str) -> None:
    program = app.load(Path(config))
    program.clock = lambda: now() + timedelta(seconds=float(seconds))

    def closed() -> bool:
        case = program.engine.advance(case_id)
        return case is not None and case.status == "closed"

    until(closed, seconds=60)


if __name__ == "__main__":
    main(*sys.argv[1:])
