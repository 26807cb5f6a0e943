"""Cameras of a rig: read from calibration files, fitted to the images, compared."""
