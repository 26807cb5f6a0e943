"""The examination of an installation that `moegs.py doctor` prints: Python, packages, devices, compilers, back-ends."""
