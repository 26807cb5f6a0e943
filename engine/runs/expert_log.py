"""Log lines on an expert that was loaded."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from common.text.wording import counted
from experts import EXPERTS, Expert
from experts.pictures import has_pictures
from router import kind_of

logger = logging.getLogger(__name__)

_WARNING = "warning: "  # how an expert's note begins that should not be overlooked
_BRIEF = {  # sources of many settings, as an expert's notes name them, and the log in their place
    "from shapes": "sizes read from the checkpoint",
    "from cfg_args": "settings read from cfg_args",
}


def log_expert(expert: Expert, name: str, folder: Path) -> None:
    """Logs what an expert is and where its settings come from; the many values that its files hold at level debug."""
    planes = ""
    if EXPERTS[kind_of(name)].has_planes:
        far = "no far plane" if expert.settings.far is None else f"far {expert.settings.far:.4g} scene units"
        planes = f", near {expert.settings.near:.4g} and {far}"
    count, iteration = counted(expert.num_gaussians, "Gaussian"), expert.provenance.iteration
    if has_pictures(expert):
        logger.info("expert %s: %s", name, *expert.provenance.notes)
        return
    logger.info("expert %s: %s, checkpoint of iteration %d%s", name, count, iteration, planes)
    warnings = [note for note in expert.provenance.notes if note.startswith(_WARNING)]
    by_source = _by_source([note for note in expert.provenance.notes if note not in warnings])
    brief = [text for source, text in _BRIEF.items() if source in by_source]
    if brief:
        logger.info("  %s (--debug lists them)", ", ".join(brief))
    for source, settings in by_source.items():
        line = f"{source}: {', '.join(settings)}" if settings else source
        logger.log(logging.DEBUG if source in _BRIEF else logging.INFO, "  %s", line)
    for note in warnings:
        logger.warning("%s: %s", folder, note.removeprefix(_WARNING))


def _by_source(notes: Sequence[str]) -> dict[str, list[str]]:
    """Settings by source: "width 32" of the note "width 32 (from shapes)"; under other notes, nothing."""
    settings: dict[str, list[str]] = {}
    for note in notes:
        inferred = re.fullmatch(r"(.*) \((from shapes|from cfg_args|from the run|preset value: [\w ]+)\)", note)
        settings.setdefault(inferred[2] if inferred else note, []).extend([inferred[1]] if inferred else [])
    return settings
