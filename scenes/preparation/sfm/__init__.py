"""Cameras and points from images, by COLMAP."""
