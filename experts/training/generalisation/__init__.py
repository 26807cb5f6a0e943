"""Measures against experts that fit their training cameras better than other views."""
