"""Runs the command: `python -m benchmarks.whole_command`."""

import sys

from benchmarks.whole_command.command import main

sys.exit(main())
