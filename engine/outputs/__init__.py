"""Files that a run leaves: images, videos, tables."""
