"""Compiles the C++ and the CUDA library into a per-user cache; `python -m moegs_rasterizer.build` is its command."""
