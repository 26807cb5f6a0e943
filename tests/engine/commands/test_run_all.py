"""`moegs.py run-all`: a whole data set of one small film, its commands run in this process."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import engine.commands.run_all
import engine.pipeline.queue
import moegs
from engine.commands import render, train
from engine.pipeline.jobs import Job
from tests.engine.expert_scene import FRAMES, write_film
from tests.scenes.scene_folders import Rig, write_n3v_scene

ROOT = Path(__file__).resolve().parents[3]
FLAGS = [
    *("--ensemble=E3", "--skip", "prepare"),
    "--expert_args=--iterations 1 --max_points 60 --test_iterations --test_frames 1 --quiet",
    "--train_args=--iterations 1 --test_iterations --quiet",
    "--render_args=--constant_frames 0 --quiet",
]
STEPS = ("expert_ex4dgs", "expert_ed3dgs", "expert_4dgaussians", "train_E3", "render_E3")


class Here:
    """Runs a job's command in this process, at once."""

    def __init__(self, job: Job, gpu: str | None) -> None:
        assert gpu is None
        script, *arguments = map(str, job.words)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        scripts = {"moegs.py": moegs.main, "train_E3.py": lambda a: train.main("E3", a)}
        scripts["render_E3.py"] = lambda a: render.main("E3", a)
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            self.code = scripts[script](arguments)
        job.log.write_text(out.getvalue() + err.getvalue())

    def poll(self) -> int:
        return self.code

    def interrupt(self) -> None:
        raise AssertionError("nobody interrupts")


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    write_film(tmp_path / "data")
    monkeypatch.setattr(engine.pipeline.queue, "CommandProcess", Here)
    monkeypatch.setattr(engine.pipeline.queue, "PAUSE", 0.0)
    return ["run-all", str(tmp_path / "data"), f"--output={tmp_path / 'out'}", *FLAGS]


def test_a_data_set_is_trained_rendered_and_tabled(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert moegs.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| film |" in printed and printed.endswith(f"written: {tmp_path / 'out' / 'table.md'}\n1 of 1 scene done\n")
    logs = tmp_path / "out" / "film" / "logs"
    assert {path.name for path in logs.iterdir()} == {f"{step}.{end}" for step in STEPS for end in ("log", "done")}
    check_second_run(tmp_path / "out", arguments, capsys)
    check_single_jobs(tmp_path / "out", arguments, capsys)
    check_changed_arguments(tmp_path / "out" / "film", arguments, capsys)
    check_other_scene(tmp_path, arguments, capsys)
    check_replaced_expert(tmp_path / "out", arguments, capsys)


def check_other_scene(folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Another scene of the same name leaves all records of the first one as they are; a copy is the same scene."""
    records = {path: path.stat().st_mtime_ns for path in (folder / "out" / "film" / "logs").glob("*.done")}
    write_n3v_scene(folder / "other" / "film", Rig(frames=FRAMES, width=48, height=32, focal=40.0))
    assert moegs.main(["run-all", str(folder / "other"), *arguments[2:]]) == 2
    model = folder / "out" / "film" / "experts" / "ex4dgs"
    assert (
        f"film, step expert_ex4dgs: {model} was trained on {folder / 'data' / 'film'}, whose videos are others than "
        f"those of {folder / 'other' / 'film'}: delete that folder to train again, or choose another --output"
    ) in capsys.readouterr().err
    assert records == {path: path.stat().st_mtime_ns for path in records}
    shutil.copytree(folder / "data", folder / "copy")
    (folder / "copy" / "film" / "preview.mp4").write_bytes(b"of no camera")
    assert moegs.main(["run-all", str(folder / "copy"), *arguments[2:], "--dry_run"]) == 0
    capsys.readouterr()


def check_replaced_expert(out: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Of an expert that another call trained again no old number is shown, and the message says how to go on."""
    logs, settings = out / "film" / "logs", out / "film" / "experts" / "ed3dgs" / "cfg_args"
    settings.write_text(settings.read_text() + "\n")
    later = max(record.stat().st_mtime_ns for record in logs.glob("*.done")) + 1
    os.utime(logs / "expert_ed3dgs.done", ns=(later, later))
    check_no_table(out, arguments, capsys, "train_E3 is older than a step before it")
    assert moegs.main(arguments) == 1
    printed = capsys.readouterr().out
    assert "E-D3DGS is not the model that" in printed and "| film |" not in printed
    assert f"in run-all by deleting {out / 'film' / 'E3'}; log: " in printed
    check_no_table(out, arguments, capsys, "train_E3 is not done")
    shutil.rmtree(out / "film" / "E3")
    assert moegs.main(arguments) == 0
    assert "| film |" in capsys.readouterr().out
    assert all((logs / f"{step}.done").stat().st_mtime_ns > later for step in ("train_E3", "render_E3"))


def check_no_table(out: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], reason: str) -> None:
    assert moegs.main([*arguments, "--job", "table"]) == 2
    captured = capsys.readouterr()
    assert (
        f"film: left out of the table: {reason}; see its log, {out / 'film' / 'logs' / 'train_E3.log'}" in captured.err
    )
    assert f"no scene of {out.parent / 'data'} is done" in captured.err and "| film |" not in captured.out


def check_single_jobs(out: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """--job runs one job, and the table; a job whose steps before it are not done is refused."""
    assert not (out / "film" / "logs" / "render_E3.done").exists()  # the step failed
    assert moegs.main([*arguments, "--job", "film/render_E3"]) == 0
    captured = capsys.readouterr()
    assert "1 job of 1 scene" in captured.err and "expert" not in captured.err and captured.out == ""
    assert (out / "film" / "logs" / "render_E3.done").is_file()
    assert moegs.main([*arguments, "--job", "table"]) == 0
    assert "| film |" in capsys.readouterr().out
    record = out / "film" / "logs" / "train_E3.done"
    told = record.read_text()
    record.unlink()
    assert moegs.main([*arguments, "--job", "film/render_E3"]) == 2
    assert "error: --job film/render_E3: film/train_E3 is not done; see its log" in capsys.readouterr().err
    record.write_text(told)


def check_what_follows_a_step_that_is_gone(out: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run names all steps that the run would do: also those after one whose record is gone."""
    record = out / "film" / "logs" / "train_E3.done"
    told, written = record.read_text(), record.stat()
    record.unlink()
    assert moegs.main([*arguments, "--dry_run"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "train_E3.py" in line or "render_E3.py" in line]
    assert len(lines) == 2 and all(line.startswith("python ") for line in lines)
    record.write_text(told)
    os.utime(record, ns=(written.st_atime_ns, written.st_mtime_ns))


def check_second_run(out: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Steps that are done are skipped; one that fails is named, and ends with exit code 1."""
    assert moegs.main([*arguments, "--dry_run"]) == 0
    *lines, table = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("# done: python ") for line in lines) == len(STEPS)
    assert shlex.split(table)[-1] == str(out / "table.md")
    check_what_follows_a_step_that_is_gone(out, arguments, capsys)
    assert moegs.main([*arguments, "--render_args=--iteration 7"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count(": skipped, its result is there") == len(STEPS) - 1
    fault = "failed: film: render_E3: exit code 2: error: "
    (line,) = (line for line in captured.out.splitlines() if line.startswith("failed: "))
    assert line.startswith(fault) and line.endswith(f"available: 1; log: {out / 'film' / 'logs' / 'render_E3.log'}")
    assert "0 of 1 scene done" in captured.out and "run the same command again" in captured.out


def check_changed_arguments(folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Arguments that a trained model would not follow are refused; a longer training of the router is not."""
    for flags, said in (
        ("--train_args=--iterations 1 --seeds 2", f"film, step train_E3: seeds is 2 by these arguments, and {folder}"),
        ("--train_args=--test_iterations", f"iterations is 5000 by these arguments, and {folder / 'E3'} was trained"),
        ("--train_args=--iterations 1 --lambda_gates 0", "lambda_gates is 0.0 by these arguments"),
        (
            "--expert_args=--iterations 1 --test_iterations",
            "film, step expert_ex4dgs: max_points is not given by these",
        ),
    ):
        assert moegs.main([*arguments, flags, "--dry_run"]) == 2
        assert said in capsys.readouterr().err
    for flags in ("--train_args=--iterations 2", "--expert_args=--iterations 1 --max_points 60"):
        assert moegs.main([*arguments, flags, "--dry_run"]) == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--gpus", "0", "0"], "--gpus names 0 twice"),
        (["--train_args='--seeds 3"], '--train_args is "\'--seeds 3": No closing quotation'),
        (["--scenes", "flim"], "did you mean film?"),
        (["--ensemble=E9"], "E9"),
        (["--gpus"], "--gpus has no value"),
        (["--jobs_per_gpu", "0"], "--jobs_per_gpu is 0: give 1 or more"),
        (["--jobs_per_gpu", "2", "--slurm", "x"], "--slurm and --jobs_per_gpu exclude each other"),
        (["--scenes"], "--scenes has no value"),
        (["--gpus", "3"], "--gpus 3: this machine has no such GPU: it has 0, 1, GPU-8a6b-01, GPU-8a6b-02"),
        (["--gpus", "GPU-8a6b", "banana"], "--gpus banana: this machine has no such GPU"),
        (["--render_args=--fill_holes maybe"], "--render_args, step render_E3: "),
        (["--data_args=--bogus 3"], "--data_args, step expert_ex4dgs: --bogus is not a flag"),
        (["--data_args=--duration"], "--data_args, step expert_ex4dgs: "),
        (["--expert_args=--set generalise.dropout=9"], "--expert_args, step expert_ex4dgs: Ex4DGS cannot be trained"),
        (["--train_args=--seed -3"], "--train_args, step train_E3: --seed is -3: give 0 or more"),
        (
            ["--train_args=--save_path=x"],
            "--train_args holds --save_path, which this command decides itself: leave it out",
        ),
        (["--preset=fsat"], "--preset, step expert_ex4dgs: --preset fsat: Ex4DGS has no such preset"),
        (["--data_args=-s x"], "--data_args holds -s, which this command"),
        (["--render_args=--stg_path x"], "--render_args holds --stg_path, which this command"),
        (["--train_args=--help"], "--train_args holds --help: ask the step's own command for its help"),
    ],
)
def test_mistakes_are_named_before_anything_is_done(
    tmp_path: Path, arguments, flags, said, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(engine.commands.run_all, "gpu_names", lambda: ("0", "1", "GPU-8a6b-01", "GPU-8a6b-02"))
    assert moegs.main([*arguments, *flags]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("only_told", [(), ("--dry_run",)])
def test_several_jobs_for_each_gpu_need_one(arguments, only_told, capsys, monkeypatch) -> None:
    monkeypatch.setattr(engine.commands.run_all, "gpu_here", lambda: False)
    assert moegs.main([*arguments, *only_told, "--jobs_per_gpu", "2"]) == 2
    captured = capsys.readouterr()
    assert "--jobs_per_gpu 2: this machine has no GPU" in captured.err and captured.out == ""


@pytest.mark.parametrize(("script", "ensemble"), [("run_n3v.sh", "E4"), ("run_techni.sh", "E3_tech")])
def test_the_scripts_are_calls_of_the_command(script: str, ensemble: str) -> None:
    words = ["bash", str(ROOT / "scripts" / script), "my data", "--skip", "table"]
    ended = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "PYTHON": "echo"})
    assert ended.stdout.startswith(f"{ROOT / 'moegs.py'} run-all --output output/")
    assert f" --ensemble {ensemble} " in ended.stdout and ended.stdout.endswith(" my data --skip table\n")
