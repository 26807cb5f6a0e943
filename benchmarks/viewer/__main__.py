"""Runs the command: `python -m benchmarks.viewer`."""

import sys

from benchmarks.viewer.command import main

sys.exit(main())
