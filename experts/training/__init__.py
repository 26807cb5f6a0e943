"""Stage 1: training the experts from video. One loop and one densification; a recipe is a table of differences."""
