"""Files of FreeTimeGS++, of FreeTimeGsVanilla, and `.ftgs.ply`: written here from known values, read in frames."""

from __future__ import annotations

import math
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from experts import EXPERTS, CheckpointError, LoadOptions, load_expert
from experts.formats.columns import GAUSSIAN, numbered, sh_to_columns
from experts.formats.ply import write_ply
from experts.freetime.files import load_freetime
from experts.freetime.model import FreeTime
from experts.recognition import expert_of_folder

COUNT, NUM_FRAMES, FPS, START = 4, 61, 60.0, 4120
FRAMES = torch.tensor([0.0, 15.0, 30.5, 60.0])
WIDTHS = torch.tensor([1.5, 3.0, 6.0, 20.0])  # frames
STEPS = torch.tensor([[0.1, 0.0, 0.0], [0.0, -0.2, 0.0], [0.0, 0.0, 0.3], [0.0, 0.0, 0.0]])  # a frame


def gaussian_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"means": (3,), "scales": (3,), "quats": (4,), "opacities": (), "sh_dc": (1, 3), "sh_rest": (15, 3)}
    return {name: torch.randn(COUNT, *shape, generator=generator) for name, shape in shapes.items()}


GAUSSIANS = gaussian_tensors()


def check_gaussians(model: FreeTime) -> None:
    names = {"means": "means", "scales": "log_scales", "quats": "quats", "opacities": "opacity_logits"}
    for stored, name in {**names, "sh_dc": "sh_dc", "sh_rest": "sh_rest"}.items():
        assert torch.equal(getattr(model.gaussians, name), GAUSSIANS[stored]), name


def refused(path: Path, **options: int) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_freetime(path, LoadOptions(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# FreeTimeGsVanilla's PLY file


def write_ftgs(path: Path, *, durations: torch.Tensor | None = None, **comments: object) -> Path:
    last = NUM_FRAMES - 1
    extra = ("time", "log_duration", *numbered("velocity_", 3))
    matrix = torch.cat(
        [
            *(GAUSSIANS["means"], torch.zeros(COUNT, 3), sh_to_columns(GAUSSIANS["sh_dc"], GAUSSIANS["sh_rest"])),
            *(GAUSSIANS["opacities"][:, None], GAUSSIANS["scales"], GAUSSIANS["quats"]),
            *(FRAMES[:, None] / last, ((WIDTHS if durations is None else durations) / last).log()[:, None]),
            STEPS * last,
        ],
        dim=1,
    )
    said = {"ftgs_version": 1, "time_units": "normalized", "use_velocity": 1, "min_duration": 0.02, "n_frames": 61}
    said = {name: value for name, value in {**said, **comments}.items() if value is not None}
    write_ply(path, [*GAUSSIAN, *extra], matrix, comments=[f"{name} {value}" for name, value in said.items()])
    return path


def test_an_ftgs_file_is_read_in_frames(tmp_path: Path) -> None:
    model = load_freetime(write_ftgs(tmp_path / "a.ftgs.ply"), LoadOptions(num_frames=300))
    check_gaussians(model)
    assert model.num_frames == NUM_FRAMES and model.gate_values() is None and not model.life.still
    torch.testing.assert_close(model.times.detach(), FRAMES)
    torch.testing.assert_close(model.durations(), WIDTHS.clamp(min=0.02 * 60))
    torch.testing.assert_close(model.velocities.detach(), STEPS)
    shown = model.at(18.0)  # three frames after the second one's moment: a standard deviation
    torch.testing.assert_close(shown.means[1], GAUSSIANS["means"][1] + 3 * STEPS[1])
    assert model.lifespans(18.0)[1].item() == pytest.approx(math.exp(-0.5), rel=1e-4)


def test_what_an_ftgs_files_comments_say_counts(tmp_path: Path) -> None:
    short = torch.tensor([0.1, 3.0, 6.0, 20.0])
    held = load_freetime(write_ftgs(tmp_path / "a.ftgs.ply", durations=short), LoadOptions())
    assert held.durations()[0].item() == pytest.approx(0.02 * 60, rel=1e-5)
    free = load_freetime(write_ftgs(tmp_path / "b.ftgs.ply", durations=short, min_duration=0.0), LoadOptions())
    assert free.durations()[0].item() == pytest.approx(0.1, rel=1e-4)
    still = load_freetime(write_ftgs(tmp_path / "c.ftgs.ply", use_velocity=0), LoadOptions())
    assert bool((still.velocities == 0).all())
    unsaid = write_ftgs(tmp_path / "d.ftgs.ply", n_frames=None)
    assert load_freetime(unsaid, LoadOptions(num_frames=NUM_FRAMES)).times[3].item() == pytest.approx(60.0)
    assert "nothing says how long that is" in refused(unsaid)
    assert "time_units seconds, only normalized" in refused(write_ftgs(tmp_path / "e.ftgs.ply", time_units="seconds"))
    assert "n_frames is 'many', a number expected" in refused(write_ftgs(tmp_path / "f.ftgs.ply", n_frames="many"))


def test_what_an_ftgs_file_does_not_say_is_told(tmp_path: Path) -> None:
    def warnings(**comments: object) -> list[str]:
        notes = load_freetime(write_ftgs(tmp_path / "a.ftgs.ply", **comments), LoadOptions()).provenance.notes
        return [note for note in notes if note.startswith("warning: ")]

    assert warnings() == []
    assert warnings(use_velocity=None, min_duration=None) == [
        "warning: the comments of a.ftgs.ply do not say all; taken for granted: use_velocity 1, min_duration 0.02"
    ]


def test_an_ftgs_file_may_lie_where_models_do(tmp_path: Path) -> None:
    write_ftgs(tmp_path / "point_cloud" / "iteration_9" / "point_cloud.ply")
    model = load_expert("FreeTime", tmp_path, LoadOptions())
    assert model.provenance.iteration == 9 and isinstance(model, FreeTime)
    torch.testing.assert_close(model.times.detach(), FRAMES)


# FreeTimeGsVanilla's checkpoint


def splats() -> dict[str, torch.Tensor]:
    last = NUM_FRAMES - 1
    return {
        **{name: GAUSSIANS[name] for name in ("means", "scales", "quats", "opacities")},
        "sh0": GAUSSIANS["sh_dc"],
        "shN": GAUSSIANS["sh_rest"],
        "times": (FRAMES / last)[:, None],
        "durations": (WIDTHS / last).log()[:, None],
        "velocities": STEPS * last,
    }


def test_a_vanilla_checkpoint_is_read_in_frames(tmp_path: Path) -> None:
    for step in (7, 29999):
        content = {"step": step - 1, "splats": splats(), "optimizers": {"means": {"lr": np.float64(0.1)}}}
        torch.save(content, tmp_path / f"ckpt_{step}.pt")
    for path, step in ((tmp_path, 29999), (tmp_path / "ckpt_7.pt", 7)):
        model = load_freetime(path, LoadOptions(num_frames=NUM_FRAMES))
        check_gaussians(model)
        assert model.provenance.iteration == step
        torch.testing.assert_close(model.times.detach(), FRAMES)
        torch.testing.assert_close(model.durations(), WIDTHS.clamp(min=0.02 * 60))
        torch.testing.assert_close(model.velocities.detach(), STEPS)
    assert load_freetime(tmp_path, LoadOptions(num_frames=61, iteration=7)).provenance.iteration == 7
    assert "no ckpt_8.pt; available: 7, 29999" in refused(tmp_path, num_frames=61, iteration=8)
    assert "nothing says how long that is" in refused(tmp_path)
    assert expert_of_folder(tmp_path, None, experts=EXPERTS.values()) == EXPERTS["FreeTime"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("times", torch.zeros(3), "times is [3], [4] expected"),
        ("quats", torch.zeros(4, 3), "quats is [4, 3], [4, 4] expected"),
        ("velocities", None, "velocities is NoneType, [4, 3] expected"),
        ("shN", torch.zeros(4, 7, 3), "shN is no tensor [4, 0, 3, 8 or 15, 3]"),
        ("sh0", torch.zeros(4, 3), "sh0 is [4, 3], [4, 1, 3] expected"),
        ("means", 3, "no tensor means"),
        ("durations", torch.full((4, 1), math.nan), "NaN or infinite values in durations"),
        ("opacities", torch.full((4,), math.nan), "NaN or infinite values in opacities"),
        ("sh0", torch.full((4, 1, 3), math.inf), "NaN or infinite values in sh0"),
    ],
)
def test_malformed_checkpoints_are_refused(tmp_path: Path, name: str, value: object, message: str) -> None:
    torch.save({"step": 1, "splats": {**splats(), name: value}}, tmp_path / "ckpt_1.pt")
    assert message in refused(tmp_path / "ckpt_1.pt", num_frames=NUM_FRAMES)


def test_other_tables_are_no_checkpoints(tmp_path: Path) -> None:
    torch.save({"model": splats()}, tmp_path / "ckpt_1.pt")
    assert "holds no table splats" in refused(tmp_path / "ckpt_1.pt", num_frames=NUM_FRAMES)
    torch.save([1], tmp_path / "ckpt_2.pt")
    assert "holds no table splats" in refused(tmp_path / "ckpt_2.pt", num_frames=NUM_FRAMES)


def test_a_lower_degree_is_padded_and_infinite_opacities_are_taken(tmp_path: Path) -> None:
    opacities = torch.tensor([math.inf, -math.inf, 0.0, 1.0])
    changed = {**splats(), "shN": GAUSSIANS["sh_rest"][:, :3], "opacities": opacities}
    torch.save({"step": 1, "splats": changed}, tmp_path / "ckpt_1.pt")
    model = load_freetime(tmp_path, LoadOptions(num_frames=NUM_FRAMES))
    assert torch.equal(model.gaussians.sh_rest[:, :3], GAUSSIANS["sh_rest"][:, :3])
    assert bool((model.gaussians.sh_rest[:, 3:] == 0).all()) and torch.equal(model.gaussians.opacity_logits, opacities)


# FreeTimeGS++'s module

CONFIG = f"[data]\nfps = {FPS}\n[data.frames]\nstart = {START}\n[model]\nsh_degree = 3\n"


@pytest.fixture
def plusplus() -> Iterator[type[nn.Module]]:
    """A class of the name that FreeTimeGS++'s has, importable while the test runs."""
    names = ("ftgspp", "ftgspp.models", "ftgspp.models.gaussians")
    modules = {name: ModuleType(name) for name in names}

    class Gaussians(nn.Module):
        def __setstate__(self, state: dict[str, object]) -> None:
            raise AssertionError("its code ran")

    Gaussians.__module__, Gaussians.__qualname__ = names[-1], "Gaussians"
    modules[names[-1]].Gaussians = Gaussians  # type: ignore[attr-defined]
    sys.modules.update(modules)
    yield Gaussians
    for name in names:
        del sys.modules[name]


def write_module(
    folder: Path, kind: type[nn.Module], *, limit: float = math.inf, config: str | None = CONFIG, **changes: object
) -> Path:
    """A gaussians.pt of these values in seconds; limit: its max_duration."""
    seconds = WIDTHS / FPS
    widths = seconds.log() if math.isinf(limit) else (6 * seconds / limit).logit()
    parameters = {
        **{name: GAUSSIANS[name] for name in ("means", "scales", "quats")},
        "opacities": GAUSSIANS["opacities"][:, None],
        "sh_0": GAUSSIANS["sh_dc"],
        "sh_n": GAUSSIANS["sh_rest"],
        "times": ((FRAMES.double() + START) / FPS).float()[:, None],
        "durations": widths[:, None],
        "velocity_model": STEPS * FPS,
        "marginal_gates": torch.full((COUNT, 1), -100.0),
        **changes,
    }
    module = kind()
    module.sh_degree, module.max_duration = 3, limit
    for name, value in parameters.items():
        setattr(module, name, nn.Parameter(value) if isinstance(value, torch.Tensor) else value)
    torch.save(module, folder / "gaussians.pt")
    if config is not None:
        (folder / "config.toml").write_text(config)
    return folder


def test_a_module_without_gates_is_read_in_frames(tmp_path: Path, plusplus: type[nn.Module]) -> None:
    model = load_freetime(write_module(tmp_path, plusplus), LoadOptions(num_frames=NUM_FRAMES))
    check_gaussians(model)
    assert model.gate_values() is None and model.life.limit is None and model.num_frames == NUM_FRAMES
    torch.testing.assert_close(model.times.detach(), FRAMES, rtol=0, atol=1e-3)  # 68 s have steps of 5e-4 frames
    torch.testing.assert_close(model.durations(), WIDTHS)
    torch.testing.assert_close(model.velocities.detach(), STEPS)
    assert [file.name for file in model.provenance.files] == ["gaussians.pt", "config.toml"]
    assert expert_of_folder(tmp_path, None, experts=EXPERTS.values()) == EXPERTS["FreeTime"]


def test_a_module_with_gates_has_their_sharpness_and_limit(tmp_path: Path, plusplus: type[nn.Module]) -> None:
    widths = torch.tensor([1.5, 3.0, 6.0, 9.0]) / FPS  # below a sixth of a second, ten frames
    gates = torch.tensor([-1.0, 0.0, 0.05, 1.0])[:, None]
    durations = (6 * widths).logit()[:, None]
    folder = write_module(tmp_path, plusplus, limit=1.0, marginal_gates=gates, durations=durations)
    model = load_freetime(folder, LoadOptions(num_frames=NUM_FRAMES))
    assert model.life.limit == pytest.approx(10.0) and not model.life.still
    torch.testing.assert_close(model.durations(), widths * FPS)
    values = model.gate_values()
    assert values is not None
    expected = [2.06e-9, 0.5, 1 / (1 + math.exp(-1)), 1.0]
    assert values.tolist() == pytest.approx(expected, rel=1e-2)
    moved = model.at(FRAMES[3].item() - 10)  # a persistent one moves all the same
    torch.testing.assert_close(
        moved.means[2], GAUSSIANS["means"][2] + (50 - FRAMES[2]) * STEPS[2], rtol=1e-4, atol=2e-3
    )


def test_a_network_of_velocities_is_refused(tmp_path: Path, plusplus: type[nn.Module]) -> None:
    names = ("tinycudann", "tinycudann.modules")
    modules = {name: ModuleType(name) for name in names}

    class NetworkWithInputEncoding(nn.Module):
        pass

    NetworkWithInputEncoding.__module__ = names[-1]
    NetworkWithInputEncoding.__qualname__ = "NetworkWithInputEncoding"
    modules[names[-1]].NetworkWithInputEncoding = NetworkWithInputEncoding  # type: ignore[attr-defined]
    sys.modules.update(modules)
    try:
        write_module(tmp_path, plusplus, velocity_model=NetworkWithInputEncoding())
    finally:
        for name in names:
            del sys.modules[name]
    assert "its velocities are a network (tinycudann), only a table" in refused(tmp_path)
    write_module(tmp_path, plusplus, velocity_model=nn.Linear(3, 3))  # of a class that no list allows
    message = refused(tmp_path)
    assert "torch.nn.modules.linear.Linear" in message and "--trust_checkpoint" not in message


class Marker:
    """Creates a file when it is unpickled by something that executes what it reads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str, str], object], tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("layout", ["zip", "legacy", "pickle"])
def test_code_in_a_module_is_not_run(tmp_path: Path, plusplus: type[nn.Module], layout: str, trust: bool) -> None:
    """Nor with --trust_checkpoint: the class is not here, so nothing is gained by it."""
    write_module(tmp_path, plusplus)
    module, marker = plusplus(), tmp_path / "marker"
    module.extra = Marker(marker)
    path = tmp_path / "gaussians.pt"
    if layout == "pickle":
        path.write_bytes(pickle.dumps(module, protocol=2))
    else:
        torch.save(module, path, _use_new_zipfile_serialization=layout == "zip")
    with pytest.raises(CheckpointError):
        load_freetime(tmp_path, LoadOptions(trust_checkpoint=trust))
    assert not marker.exists()
    with pytest.raises(AssertionError, match="its code ran"):
        torch.load(path, weights_only=False) if layout != "pickle" else pickle.loads(path.read_bytes())
    assert marker.exists(), "the file is harmless: the test proves nothing"


def test_the_class_of_the_module_is_not_needed(tmp_path: Path, plusplus: type[nn.Module]) -> None:
    write_module(tmp_path, plusplus)
    saved = sys.modules.pop("ftgspp.models.gaussians")
    try:
        assert load_freetime(tmp_path, LoadOptions()).num_gaussians == COUNT
    finally:
        sys.modules["ftgspp.models.gaussians"] = saved


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "config.toml: no such file; it lies beside gaussians.pt"),
        ("[data\n", "no TOML"),
        ("[data]\n", "data.fps is None, a positive number expected"),
        ("[data]\nfps = 0\n", "data.fps is 0, a positive number"),
        ("data = 3\n", "data.fps is None"),
        ("[data]\nfps = 30\n[data.frames]\nstart = 'first'\n", "data.frames.start is 'first', a whole number expected"),
    ],
)
def test_configs_that_tell_no_time_are_refused(
    tmp_path: Path, plusplus: type[nn.Module], config: str | None, message: str
) -> None:
    assert message in refused(write_module(tmp_path, plusplus, config=config))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"marginal_gates": torch.zeros(3, 1)}, "marginal_gates is [3, 1], [4] expected"),
        ({"sh_n": torch.zeros(4, 15)}, "sh_n is no tensor"),
        ({"times": torch.full((4, 1), math.inf)}, "NaN or infinite values in times"),
        ({"limit": -1.0, "durations": torch.zeros(4, 1)}, "max_duration is -1.0, a positive number expected"),
    ],
)
def test_malformed_modules_are_refused(
    tmp_path: Path, plusplus: type[nn.Module], changes: dict[str, object], message: str
) -> None:
    assert message in refused(write_module(tmp_path, plusplus, **changes))  # type: ignore[arg-type]


def test_other_torch_files_are_no_modules(tmp_path: Path) -> None:
    torch.save({"means": torch.zeros(2, 3)}, tmp_path / "gaussians.pt")
    assert "holds a dict, not FreeTimeGS++'s module" in refused(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"x")
    assert "no file of this expert" in refused(tmp_path / "model.bin")
