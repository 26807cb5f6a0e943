"""Stage 2: the router's training."""
