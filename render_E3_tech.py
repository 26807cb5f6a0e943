"""Renders and scores a run of train_E3_tech.py; --help lists the flags."""

from __future__ import annotations

import sys

from engine.render import main

if __name__ == "__main__":
    sys.exit(main("E3_tech", sys.argv[1:]))
