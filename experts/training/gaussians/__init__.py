"""The Gaussians of a training: the first ones, new ones, moved ones, removed ones."""
