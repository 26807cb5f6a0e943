"""Stage 1: an expert's training."""
