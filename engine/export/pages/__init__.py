"""The page: a run and a player in one HTML file."""
