"""A run in memory and on disk: opened, checked, saved, found again; and the device it computes on."""
