"""Render and score the blend of three experts on N3V: Ex4DGS, E-D3DGS and 4DGaussians."""

from engine.commands.render import main

if __name__ == "__main__":
    raise SystemExit(main("E3"))
