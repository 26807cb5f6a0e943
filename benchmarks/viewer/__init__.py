"""Pictures a second of the live viewer: `python -m benchmarks.viewer`."""
