"""Reads flags and configuration files into settings, and checks the paths in them."""
