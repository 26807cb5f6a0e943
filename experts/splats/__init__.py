"""Splats: Gaussians on straight lines, as files of other programs hold them."""
