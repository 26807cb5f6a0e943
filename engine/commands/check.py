"""Check a scene and trained experts before the hours are spent: python moegs.py check SCENE [EXPERT ...]."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from common.text.wording import counted
from engine.checks.clip_length import settle_clip_lengths
from engine.checks.experts import check_cameras, check_visible
from engine.checks.footage import warn_of_frames
from engine.checks.judging import judge
from engine.checks.rasterizer import check_rasterizer
from engine.checks.training_costs import expert_trainings
from engine.checks.verdict import log_verdict
from engine.errors import ConfigError
from engine.runs.cost import frames_line
from engine.runs.device import ComputeDevice, open_compute_device
from engine.runs.experts.loading import open_expert
from engine.runs.experts.pictures import decode_pictures
from engine.runs.scene import read_scene
from engine.settings.check import read_check_settings
from engine.settings.parsing.command_line import set_up_logging
from engine.settings.parsing.fields import with_values
from engine.settings.training.experts import check_expert_frames, ensemble_and_folders, folder_argument
from engine.settings.training.run import AnyRunConfig
from engine.settings.training.train_expert import ExpertDataConfig, TrainExpertConfig
from experts import Expert
from router import kind_of
from scenes import Scene
from scenes.footage import check_headers, headers_table
from scenes.layouts import LOADERS, guess_layout
from scenes.options import DEFAULT_LAYOUT

FAULTS = 1  # exit code where there is a warning


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """The command's exit code: 0 nothing to warn of, 1 warnings. Tables go to standard output, warnings to the log."""
    set_up_logging(quiet="--quiet" in argv, debug="--debug" in argv)
    config = read_check_settings(argv, prog=prog, description=description)
    with counted_warnings() as warnings:
        check(config)
    if not warnings:
        print("no faults found")
        return 0
    print(f"{counted(len(warnings), 'warning')}, see above")
    return FAULTS


def check(config: AnyRunConfig) -> None:
    """Checks a scene's footage and cameras, then the experts' images of it; prints tables, logs warnings."""
    source = config.data.source_path
    assert source is not None, "required"
    compute = open_compute_device(config.machine.device, config.machine.backend)
    check_rasterizer(compute)
    ensemble, folders = ensemble_and_folders(config.experts.expert)
    check_expert_frames(config.experts.expert_frames, ensemble.experts)
    if config.data.cache_path is None and source.is_dir() and not os.access(source, os.W_OK):
        raise ConfigError(f"{source} cannot be written: give --cache_path, a folder for the decoded frames")
    layout = LOADERS[config.data.loader].name if config.data.loader else guess_layout(source) or DEFAULT_LAYOUT
    scene = read_scene(config.data, source, layout=layout, results=Path(), quiet=config.machine.quiet)
    print("", *headers_table(check_headers(scene.sources)), "", sep="\n")
    experts = _open_experts(config, scene, folders, compute)
    print(frames_line(scene), "", *_trainings(config, scene, compute), sep="\n")
    scene.frames.prepare(range(len(scene.views)))
    decode_pictures(experts)
    print("", *warn_of_frames(scene), "", sep="\n")
    if experts:
        clips = settle_clip_lengths(scene, experts, compute)
        verdict = judge(scene, experts, clips=clips, compute=compute)
        print("", *verdict.table(), "", sep="\n")
        log_verdict(verdict, scene)


def _trainings(config: AnyRunConfig, scene: Scene, compute: ComputeDevice) -> list[str]:
    asked = TrainExpertConfig(
        data=with_values(ExpertDataConfig(), {"source_path": scene.root, "router_cameras": len(scene.router)})
    )
    with TemporaryDirectory() as folder:
        return expert_trainings(asked, scene, compute, results=Path(folder) / scene.name)


def _open_experts(
    config: AnyRunConfig, scene: Scene, folders: dict[str, Path], compute: ComputeDevice
) -> tuple[Expert, ...]:
    experts = []
    for name, folder in folders.items():
        expert = open_expert(config, scene, name, folder, device=compute.device, by_name=True)
        label = folder_argument(kind_of(name), folder, by_name=True)
        check_visible(expert, scene, compute=compute, label=label, folder=folder)
        check_cameras(scene, name, folder)
        experts.append(expert)
    return tuple(experts)


class _Collected(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def counted_warnings() -> Iterator[list[logging.LogRecord]]:
    """Collects the warnings that are logged meanwhile."""
    handler = _Collected()
    logging.getLogger().addHandler(handler)
    try:
        yield handler.records
    finally:
        logging.getLogger().removeHandler(handler)
