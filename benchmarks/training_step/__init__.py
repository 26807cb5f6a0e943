"""Times of the stages of a training step: `python moegs.py profile-step`."""
