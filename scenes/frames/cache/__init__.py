"""Decoded frames on disk: whole clips, or chunks within a limit."""
