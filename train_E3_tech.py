"""Train the router of three experts on Technicolor: Ex4DGS, E-D3DGS and STG."""

from engine.commands.scripts import script

if __name__ == "__main__":
    raise SystemExit(script("train", "E3_tech"))
