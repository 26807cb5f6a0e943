"""Runs the command: `python -m benchmarks.realtime`."""

import sys

from benchmarks.realtime.command import main

sys.exit(main())
