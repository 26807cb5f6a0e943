"""Preparation of scenes: from videos or images to cameras, COLMAP models and point clouds that experts start from."""
