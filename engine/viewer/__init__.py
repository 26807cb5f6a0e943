"""The live viewer of `moegs.py view`: a run rendered here, and shown in browsers as the camera and the time change."""
