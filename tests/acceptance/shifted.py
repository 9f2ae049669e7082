"""crontalk on a host whose clock is wrong: `python -m tests.acceptance.shifted SECONDS scheduler`.

The scheduler reads the host's clock through `time` alone (identifiers); `faketime` shifts everything else as
well, where it is installed.
"""

from __future__ import annotations

import sys
import time

OFFSET = float(sys.argv.pop(1))
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + OFFSET
time.time_ns = lambda: _time_ns() + int(OFFSET * 1e9)

from cli.main import main  # noqa: E402 (after the clock is wrong)

main()
