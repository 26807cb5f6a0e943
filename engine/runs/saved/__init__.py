"""A trained run on disk: its router, what it records of scene and experts, and how it is opened again."""
