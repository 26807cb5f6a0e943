"""Settings of the commands that show or check results."""
