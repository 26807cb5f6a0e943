"""The choice of a video's encoder."""

from __future__ import annotations

import logging

import pytest

from engine.errors import ConfigError
from engine.outputs import encoders
from engine.outputs.encoders import NVENC, SOFTWARE, Encoder, check_encoder, choose_encoders, sessions_of

MISSING = Encoder(codec="h264_missing", options={})


def test_videos_are_counted_that_can_be_encoded_at_a_time() -> None:
    assert sessions_of(SOFTWARE, 3) == (3, "")
    assert sessions_of(MISSING, 3) == (0, "no encoder h264_missing")
    sessions, fault = sessions_of(Encoder(codec="libx264", options={"profile": "nonsense"}), 3)
    assert sessions == 0 and fault


def test_software_asks_no_gpu(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(encoders, "sessions_of", lambda *_: pytest.fail("asked"))
    with caplog.at_level(logging.INFO):
        assert choose_encoders("software", 2) == [SOFTWARE] * 2
        assert choose_encoders("auto", 0) == []
        check_encoder("software")
    assert not caplog.messages


@pytest.mark.parametrize(
    ("sessions", "line"),
    [
        (0, "encoders: 3 videos by libx264 (h264_nvenc: busy)"),
        (2, "encoders: 2 videos by h264_nvenc, 1 video by libx264 (h264_nvenc: busy)"),
        (3, "encoders: 3 videos by h264_nvenc"),
    ],
)
def test_auto_takes_what_the_gpu_has(
    sessions: int, line: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(encoders, "sessions_of", lambda *_: (sessions, "busy"))
    with caplog.at_level(logging.INFO):
        assert choose_encoders("auto", 3) == [NVENC] * sessions + [SOFTWARE] * (3 - sessions)
    assert caplog.messages == [line]


def test_nvenc_that_is_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "NVENC", MISSING)
    with pytest.raises(ConfigError, match=r"--encoder nvenc: h264_missing cannot be used here \(no encoder"):
        check_encoder("nvenc")
    check_encoder("auto")
