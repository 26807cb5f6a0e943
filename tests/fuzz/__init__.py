"""Damaged files of every kind, read in children with limits."""
