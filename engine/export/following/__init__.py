"""Gaussians followed through a clip: straight lines that stand for their paths, and where these lines end."""
