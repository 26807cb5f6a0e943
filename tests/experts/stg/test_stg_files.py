"""STG's files: round trips of all variants and layouts, and one line for every fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from experts.base import CheckpointError, LoadOptions
from experts.formats.ply import read_ply, write_ply
from experts.stg.columns import COLUMNS
from experts.stg.decoder import SandwichDecoder
from experts.stg.files import load_stg, read_routed_stg, save_stg, segment_variant, write_routed_stg
from experts.stg.model import STG, STGSegment

SH, FULL, LITE = COLUMNS["sh"], COLUMNS["full"], COLUMNS["lite"]
COUNTS, LENGTHS = (3, 4), (10, 5)


def model(kind: str = "sh", segments: int = 2) -> STG:
    generator = torch.Generator().manual_seed(0)
    parts, first = [], 0
    for count, length in list(zip(COUNTS, LENGTHS, strict=True))[:segments]:
        shapes = {"means": (3,), "motion": (9,), "quats": (4,), "omegas": (4,), "log_scales": (3,)}
        shapes |= {"opacity_logits": (), "trbf_centres": (), "trbf_log_widths": ()}
        colour = {
            "sh": {"sh_dc": (1, 3), "sh_rest": (15, 3)},
            "lite": {"features": (3,)},
            "full": {"features": (6,), "time_features": (3,)},
        }
        tensors = {
            name: torch.randn(count, *shape, generator=generator) for name, shape in (shapes | colour[kind]).items()
        }
        shapes_of = {"mlp1": (6, 12, 1, 1), "mlp2": (3, 6, 1, 1)}
        weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes_of.items()}
        decoder = SandwichDecoder(**weights, output="clamp") if kind == "full" else None
        parts.append(STGSegment(first=first, num_frames=length, decoder=decoder, **tensors))
        first += length
    return STG(segments=parts, near=1.5, far=60.0, low_pass=0.2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_stg(model(), tmp_path / "steak", 30)
    return tmp_path / "steak"


def table(folder: Path, segment: str = "steak_0to9", iteration: int = 30) -> Path:
    return folder / segment / "point_cloud" / f"iteration_{iteration}" / "point_cloud.ply"


def fault(path: Path, **options) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_stg(path, LoadOptions(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(first: STG, second: STG) -> bool:
    a, b = first.state_dict(), second.state_dict()
    spans = [[(part.first, part.num_frames) for part in expert.parts] for expert in (first, second)]
    return spans[0] == spans[1] and a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("kind", ["sh", "full", "lite"])
@pytest.mark.parametrize("segments", [1, 2])
def test_round_trip_of_bytes_and_settings(tmp_path: Path, kind: str, segments: int) -> None:
    save_stg(model(kind, segments), tmp_path / "a" / "steak", 30)
    loaded = load_stg(tmp_path / "a" / "steak", LoadOptions(scene="steak"))
    assert same(loaded, model(kind, segments))
    assert [segment_variant(part) for part in loaded.parts] == [kind] * segments
    assert loaded.settings == model(kind).settings
    if kind == "full":
        assert loaded.parts[0].decoder.output == "clamp"
    save_stg(loaded, tmp_path / "b" / "steak", 30)
    files = sorted(file for file in (tmp_path / "a").rglob("*") if file.is_file())
    assert len(files) == segments * (3 if kind == "full" else 2)
    for file in files:
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()


def test_layout_and_provenance(folder: Path) -> None:
    assert sorted(entry.name for entry in folder.iterdir()) == ["steak_0to9", "steak_10to14"]
    loaded = load_stg(folder, LoadOptions())
    assert loaded.provenance.files == (table(folder), table(folder, "steak_10to14"))
    assert loaded.provenance.iteration == 30
    assert (
        "segment 10to14: 5 frames (from the folder name), variant sh (from the PLY columns)" in loaded.provenance.notes
    )


def test_near_and_far_are_the_runs_then_cfg_args_then_presets(folder: Path) -> None:
    loaded = load_stg(folder, LoadOptions(near=4.0))
    assert (loaded.near, loaded.far) == (4.0, 60.0)
    for segment in ("steak_0to9", "steak_10to14"):
        (folder / segment / "cfg_args").unlink()
    assert (load_stg(folder, LoadOptions()).near, load_stg(folder, LoadOptions()).far) == (0.2, 300.0)


def test_frames_of_a_single_model(tmp_path: Path) -> None:
    path = tmp_path / "Painter"
    save_stg(model(segments=1), path, 1)
    assert load_stg(path, LoadOptions(num_frames=8)).num_frames == 10
    assert "covers 10 of the clip's 50 frames" in fault(path, num_frames=50)
    (path / "cfg_args").unlink()
    assert load_stg(path, LoadOptions(num_frames=8)).num_frames == 8
    assert load_stg(path, LoadOptions()).num_frames == 50


def test_the_routers_weights_come_in_stage_twos_layout(tmp_path: Path) -> None:
    weights = torch.arange(21.0).reshape(7, 3)
    folder = tmp_path / "STG"
    write_routed_stg(model(), folder, 5, weights)
    assert sorted(entry.name for entry in folder.iterdir()) == ["0to9", "10to14"]
    assert read_ply(table(folder, "0to9", 5)).names == (*SH, "f_t_0", "w_b_0", "w_b_1")
    assert torch.equal(read_routed_stg(folder), weights)
    assert same(load_stg(folder, LoadOptions(scene="steak")), model())
    write_routed_stg(model(segments=1), tmp_path / "tech", 5, weights[:3])
    assert torch.equal(read_routed_stg(tmp_path / "tech"), weights[:3])


def test_no_weights_of_a_router_and_half_of_them(folder: Path) -> None:
    assert read_routed_stg(folder) is None
    names = (*SH, "f_t_0", "w_b_0", "w_b_1")
    write_ply(table(folder), names, np.zeros((3, len(names)), np.float32))
    with pytest.raises(CheckpointError, match="only some of its segments"):
        read_routed_stg(folder)


def test_the_lite_variant_with_a_routers_weights_is_still_lite(tmp_path: Path) -> None:
    write_routed_stg(model("lite", 1), tmp_path, 5, torch.zeros(3, 3))
    assert same(load_stg(tmp_path, LoadOptions()), model("lite", 1))
    assert read_routed_stg(tmp_path).shape == (3, 3)


def test_the_full_variant_cannot_carry_a_routers_weights(tmp_path: Path) -> None:
    save_stg(model("full", 1), tmp_path, 5)
    assert read_routed_stg(tmp_path) is None
    with pytest.raises(ValueError, match="both have f_t_0"):
        write_routed_stg(model("full", 1), tmp_path, 6, torch.zeros(3, 3))
    assert not (tmp_path / "point_cloud" / "iteration_6").exists()


def test_wrong_scene(folder: Path) -> None:
    (folder / "steak_0to9").rename(folder / "spinach_0to9")
    (folder / "steak_10to14").rename(folder / "spinach_10to14")
    assert "segments beef_<first>to<last> expected, found spinach_0to9" in fault(folder, scene="beef")


def test_missing_folder(folder: Path) -> None:
    assert "nearest there: steak" in fault(folder.parent / "steaks")
    assert "no iteration 7; available: 30" in fault(folder, iteration=7)


def test_cfg_args_of_another_scene_is_a_note(folder: Path) -> None:
    (folder / "steak_0to9" / "cfg_args").write_text("Namespace(source_path='data/beef/colmap_0')")
    notes = load_stg(folder, LoadOptions(scene="steak")).provenance.notes
    assert "cfg_args names the scene beef, the run's is steak" in notes


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ([n for n in SH if n != "f_rest_44"], "44 f_rest_* columns; 0, 9, 24 or 45 (SH degree 0 to 3) expected"),
        ([n for n in FULL if n != "f_t_2"], "6 f_dc_* and no f_rest_* columns fit none of STG's variants"),
        ([n for n in LITE if n != "f_dc_2"], "2 f_dc_* and no f_rest_* columns fit none"),
        ([n for n in LITE if n != "omega_3"], "1 columns missing: omega_3 (nearest: omega_"),
        (LITE, "segments of different kinds (lite, sh)"),
    ],
)
def test_columns_that_fit_no_variant(folder: Path, names, what: str) -> None:
    write_ply(table(folder), names, np.zeros((2, len(names)), np.float32))
    assert what in fault(folder)


def test_broken_decoder(tmp_path: Path) -> None:
    save_stg(model("full", 1), tmp_path, 5)
    decoder = tmp_path / "point_cloud" / "iteration_5" / "point_cloud.pt"
    (tmp_path / "cfg_args").write_text("Namespace(rgbfunction='sandwichheavy', duration=10)")
    assert "rgbfunction 'sandwichheavy' is not supported (supported: sandwich, " in fault(tmp_path)
    (tmp_path / "cfg_args").unlink()
    assert load_stg(tmp_path, LoadOptions()).parts[0].decoder.output == "sigmoid"
    torch.save({"mlp1.weight": torch.zeros(6, 12)}, decoder)
    assert "is not STG's colour decoder" in fault(tmp_path)
    decoder.write_bytes(b"<html></html>")
    assert "is a web page" in fault(tmp_path)
    decoder.unlink()
    assert "point_cloud.pt: no such file" in fault(tmp_path)
