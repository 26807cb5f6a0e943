"""Times of a whole `render_E4.py`: `python -m benchmarks.whole_command`."""
