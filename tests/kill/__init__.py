"""Commands killed at chance moments, then repeated."""

from pathlib import Path

import tests

tests.__path__ = [str(Path(__file__).resolve().parents[1])]  # not the rasterizer's too, which may be on the path
