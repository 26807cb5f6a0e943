"""Times of the rasterizer on seeded random scenes: `python -m benchmarks.rasterizer`."""
