"""Times of a training step and of the rasterizer; no user's run imports this."""
