"""Metrics of images and of clips, and the images as they are fed to them."""
