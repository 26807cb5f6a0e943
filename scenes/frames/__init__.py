"""Frames of a scene: decoded, resized, cached on disk, read ahead."""
