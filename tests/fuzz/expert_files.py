"""Files of experts, and of trainings of experts."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from engine.commands import train_expert
from engine.errors import ConfigError
from engine.training.expert.saves import load_state, saved_state
from experts import LoadOptions, load_expert
from experts.formats.packed import write_packed
from experts.formats.ply import read_ply
from experts.freetime.files import save_freetime
from experts.stg.files import save_stg
from tests.engine.expert_scene import arguments, run, write_film
from tests.experts.ex4dgs.test_ex4dgs_files import capture
from tests.experts.ex4dgs.test_ex4dgs_files import model as ex4dgs_model
from tests.experts.freetime.models import small_model
from tests.experts.freetime.test_freetime_foreign_files import NUM_FRAMES as FREETIME_FRAMES
from tests.experts.freetime.test_freetime_foreign_files import splats
from tests.experts.stg.test_stg_files import model as stg_model
from tests.fuzz.samples import Maker, Sample

DEMO = Path(__file__).resolve().parents[2] / "demo" / "experts"


def expert(name: str, file: str) -> Maker:
    """A file of one of the demo's experts."""

    def make(folder: Path) -> Sample:
        shutil.copytree(DEMO / name, folder / name)
        found = next((folder / name).rglob(file))
        return Sample(file=found, read=lambda: load_expert(name, folder / name, LoadOptions(num_frames=30)))

    return make


def legacy(folder: Path) -> Sample:
    """A decoder that is written in the format of PyTorch before 1.6: refused, whatever is in it."""
    save_stg(stg_model("full", 1), folder / "model", 5)
    file = next((folder / "model").rglob("point_cloud.pt"))
    torch.save(torch.load(file, weights_only=True), file, _use_new_zipfile_serialization=False)
    return Sample(file=file, read=lambda: load_expert("STG", folder / "model", LoadOptions()), refused=True)


def freetime(folder: Path) -> Sample:
    save_freetime(small_model(40), folder / "model", 7)
    file = next((folder / "model").rglob("point_cloud.ply"))
    return Sample(file=file, read=lambda: load_expert("FreeTime", folder / "model", LoadOptions(num_frames=5)))


def freetime_checkpoint(folder: Path) -> Sample:
    file = folder / "ckpt_29999.pt"
    torch.save({"step": 29998, "splats": splats()}, file)
    return Sample(file=file, read=lambda: load_expert("FreeTime", folder, LoadOptions(num_frames=FREETIME_FRAMES)))


def ex4dgs_checkpoint(folder: Path) -> Sample:
    file = folder / "chkpnt25.pth"
    torch.save((capture(ex4dgs_model()), 25), file)
    return Sample(file=file, read=lambda: load_expert("Ex4DGS", file, LoadOptions(num_frames=50)))


def stg_decoder(folder: Path) -> Sample:
    save_stg(stg_model("full", 1), folder / "model", 5)
    file = next((folder / "model").rglob("point_cloud.pt"))
    return Sample(file=file, read=lambda: load_expert("STG", folder / "model", LoadOptions()))


def packed(folder: Path) -> Sample:
    table = read_ply(next((DEMO / "STG").rglob("point_cloud.ply")))
    file = folder / "table.ply"
    write_packed(file, table.names, table.matrix[:500])
    return Sample(file=file, read=lambda: read_ply(file))


def training_state(folder: Path) -> Sample:
    film = write_film(folder)
    if run(film, folder / "model", "stg") != 0:
        raise ConfigError("the film cannot be trained on")
    newest = saved_state(folder / "model")
    assert newest is not None

    def read() -> object:
        argv = [*arguments(film, folder / "model", "stg"), "--resume"]
        train_expert.command(argv, prog="moegs.py train-expert", description="")
        return load_state(newest[1])

    return Sample(file=newest[1], read=read)
