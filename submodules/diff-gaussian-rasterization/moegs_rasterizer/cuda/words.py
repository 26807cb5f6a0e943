"""The meaning of the words of a report that the GPU writes: csrc/cuda/launch.h says so in C++."""

from __future__ import annotations

MOST_LAYERS = 12
VIEW = 27  # doubles of View in csrc/layout.h
WORDS = 2 + MOST_LAYERS  # int64s of a report: sequence, faults of the layers, instances
NO_FAULT = -1
NOT_FINITE = ("means", "scales", "quats", "opacities", "sh", "colours", "features", "background")
OUT_OF_RANGE = ("scales is below 0{}; apply exp first", "opacities leaves [0, 1]{}; apply the sigmoid first")


def error_of(faults: list[int], first_layer: int) -> str | None:
    """Words for the first bad value of a call; None where all are good. faults: a word for each layer."""
    for layer, code in enumerate(faults):
        if code == NO_FAULT:
            continue
        row, fault = divmod(code, 16)
        where = f", first at row {row}"
        if fault < len(NOT_FINITE):
            text = f"{NOT_FINITE[fault]} has NaN or infinite values{where}; repair or drop these rows"
        else:
            text = OUT_OF_RANGE[fault - len(NOT_FINITE)].format(where)
        return f"layer {first_layer + layer}: {text} (seen by the GPU; that call's images are NaN)"
    return None
