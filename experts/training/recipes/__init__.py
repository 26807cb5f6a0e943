"""Settings of an expert's training, and its learning rates."""
