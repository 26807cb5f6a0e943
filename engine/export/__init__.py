"""Runs and experts in files that other programs play: splats, their files, the page, and what they lose."""
