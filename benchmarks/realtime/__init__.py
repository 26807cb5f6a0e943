"""Times of a frame and of a training step with and without each idea: `python -m benchmarks.realtime`."""
