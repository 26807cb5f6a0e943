"""Train the router of three experts on Technicolor: Ex4DGS, E-D3DGS and STG."""

from engine.commands.train import main

if __name__ == "__main__":
    raise SystemExit(main("E3_tech"))
