from __future__ import annotations

import pytest

from benchmarks import long_clip
from common.disk.files import write_json
from demo.playroom import RigSize
from demo.playroom.film import film_camera
from demo.playroom.rig import rig_cameras
from demo.playroom.world import demo_world
from demo.playroom.writer import write_video
from engine.errors import ConfigError


def test_a_command_is_watched_and_its_fault_is_told(tmp_path):
    (tmp_path / "64x48_bilinear").mkdir()
    (tmp_path / "64x48_bilinear" / "cam00_0-3.npy").write_bytes(bytes(5000))
    taken = long_clip.watched(["--help"], tmp_path)
    assert taken.disk == 5000
    assert 5e6 < taken.memory < 5e9
    with pytest.raises(ConfigError, match=r"moegs.py trian: exit code 2: .*no command 'trian'"):
        long_clip.watched(["trian"], tmp_path)


def test_what_seams_cost_is_read_from_a_rendering(tmp_path):
    blend = {"at_seams": 30.0, "elsewhere": 31.0, "one_window": 30.25}
    write_json(tmp_path / "test" / "itrs_4" / "metrics.json", {"seams": {"methods": {"MoE": blend}, "lost": 0.25}})
    assert list(long_clip.seam_lines(tmp_path)) == [
        "tPSNR of the blend, dB: at_seams 30.00, elsewhere 31.00, one_window 30.25; lost at seams: 0.25"
    ]


def test_footage_is_played_forwards_and_backwards(tmp_path):
    frames = film_camera(demo_world(), rig_cameras(RigSize(width=64, height=48))[0], num_frames=3, supersampling=1)
    write_video(tmp_path / "cam00.mp4", frames)
    played = list(long_clip.there_and_back(tmp_path / "cam00.mp4", 8, 32))
    assert [image.shape for image in played] == [(24, 32, 3)] * 8
    expected = [*played[5::-1], *played[:2]]
    assert all((one == other).all() for one, other in zip(played, expected, strict=True))
    assert not (played[0] == played[2]).all()
