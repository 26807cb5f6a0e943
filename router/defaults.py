"""Settings of a router where none are given."""

DEFAULT_TEMPERATURE = 1.0  # of the softmax while training; docs/dev/blend.md has the measurement
DEFAULT_EVAL_TEMPERATURE: float | None = None  # of the softmax elsewhere; None: the training one
