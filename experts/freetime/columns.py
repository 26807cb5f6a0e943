"""Columns of FreeTime's PLY files: those of the public `.ftgs.ply`, and the raw tensors of a training here."""

from __future__ import annotations

from experts.formats.columns import numbered

# As in `.ftgs.ply` version 1: time from 0 (first frame) to 1 (last), velocities per unit of it.
TIME = ("time",)
LOG_DURATION = ("log_duration",)
VELOCITY = numbered("velocity_", 3)

# Raw, in frames: normalised values do not give them back bit for bit.
FRAME = ("frame",)
WIDTH = ("width_raw",)
FRAME_VELOCITY = numbered("frame_velocity_", 3)
GATE = ("gate",)
HOLD = ("hold",)
