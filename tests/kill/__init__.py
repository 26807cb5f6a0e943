"""Commands killed at chance moments, then repeated."""
