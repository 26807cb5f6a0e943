"""Settings of every command: groups, flags, JSON files, and what beats what."""
