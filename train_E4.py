"""Train the router of four experts on N3V: Ex4DGS, E-D3DGS, STG and 4DGaussians."""

from engine.commands.train import main

if __name__ == "__main__":
    raise SystemExit(main("E4"))
