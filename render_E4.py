"""Render and score the blend of four experts on N3V: Ex4DGS, E-D3DGS, STG and 4DGaussians."""

from engine.commands.scripts import script

if __name__ == "__main__":
    raise SystemExit(script("render", "E4"))
