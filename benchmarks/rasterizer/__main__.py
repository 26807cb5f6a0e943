"""Runs the command: `python -m benchmarks.rasterizer`."""

from benchmarks.rasterizer.command import main

main()
