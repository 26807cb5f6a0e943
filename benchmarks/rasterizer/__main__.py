"""Runs the command: `python -m benchmarks.rasterizer`."""

from .command import main

main()
