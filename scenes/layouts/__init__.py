"""Data layouts: the folders that can be read as a scene, one row each."""
