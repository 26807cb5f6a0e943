"""Render and score the blend of five experts on N3V: those of E4 and FreeTime."""

from engine.commands.scripts import script

if __name__ == "__main__":
    raise SystemExit(script("render", "E5"))
