"""Files of a run's results: images and videos."""
