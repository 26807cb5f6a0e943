"""Checks before the hours are spent: the rasterizer, the experts' files, and the experts' images of this scene."""
