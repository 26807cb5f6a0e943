"""Small models fitted to clips whose surface points are known, for the demo; stage-1 training is another matter."""
