"""SLURM's arrays list the jobs of run-all, and a stand-in for sbatch runs them in the right order."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import engine.pipeline.slurm
import moegs
from engine.errors import ConfigError
from engine.pipeline.jobs import Job
from engine.pipeline.slurm import chosen_job, stages
from engine.settings.run_all import without_slurm
from tests.engine.expert_scene import write_film

SBATCH = """\
#!/bin/bash
# Runs every task of an array at once, and prints the number of the job.
for word in "$@"; do script=$word; done
echo "$*" >> "$SLURM_STAND_IN/submitted"
last=$(grep -oP '(?<=--array=0-)[0-9]+' "$script")
for id in $(seq 0 "$last"); do SLURM_ARRAY_TASK_ID=$id bash "$script" > /dev/null; done
grep -c . "$SLURM_STAND_IN/submitted"
"""
PYTHON = """\
#!/bin/bash
echo "$(pwd) $*" >> "$SLURM_STAND_IN/ran"
"""


def program(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("a film", "b"):
        write_film(tmp_path / "made").rename(tmp_path / name)
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "data" / name)
    return tmp_path / "data"


def test_the_arrays_run_every_job_after_those_that_it_needs(data, tmp_path, monkeypatch, capsys):
    for name, text in (("sbatch", SBATCH), ("python", PYTHON)):
        program(tmp_path / name, text)
    monkeypatch.setattr(engine.pipeline.slurm.sys, "executable", str(tmp_path / "python"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "slurm files"
    words = ["run-all", "data", "--ensemble=E3", "--data_args", "--duration 2", "--slurm", str(folder)]
    assert moegs.main(words) == 0
    printed = capsys.readouterr().out
    assert "written: 13 jobs in 5 arrays\n" in printed and f"bash '{folder}/submit.sh'" in printed
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_STAND_IN": str(tmp_path)}
    subprocess.run(["bash", str(folder / "submit.sh"), "--time=1:00"], env=environment, check=True, timeout=60)
    ran = (tmp_path / "ran").read_text().splitlines()
    command = f"{tmp_path} {moegs.__file__} run-all data --ensemble=E3 --data_args=--duration 2 --job "
    assert all(line.startswith(command) for line in ran)
    jobs = [line.removeprefix(command) for line in ran]
    stage = [["prepare"], ["expert_ex4dgs", "expert_ed3dgs", "expert_4dgaussians"], ["train_E3"], ["render_E3"]]
    assert jobs == [f"{scene}/{step}" for steps in stage for scene in ("a film", "b") for step in steps] + ["table"]
    submitted = (tmp_path / "submitted").read_text().splitlines()
    assert submitted[0] == "--parsable --time=1:00 stage_1.sbatch"
    assert submitted[3] == "--parsable --dependency=afterany:3 --time=1:00 stage_4.sbatch"


def jobs_of(root: Path) -> list[Job]:
    def job(step: str, *after: str) -> Job:
        words = ("moegs.py", step)
        return Job(scene="a", step=step, words=words, folder=root, results=(root / step,), after=after)

    return [job("first"), job("second", "first"), job("third", "first", "second")]


def finish(job: Job) -> None:
    job.folder.joinpath(job.step).touch()
    job.mark_done()


def test_stages_follow_what_a_job_needs(tmp_path):
    assert [[job.step for job in stage] for stage in stages(jobs_of(tmp_path))] == [["first"], ["second"], ["third"]]


def test_a_job_alone_needs_the_steps_before_it_and_follows_their_changes(tmp_path):
    jobs = jobs_of(tmp_path)
    with pytest.raises(ConfigError, match="--job a/secnd: there is no such job; did you mean a/second"):
        chosen_job(jobs, "a/secnd")
    with pytest.raises(ConfigError, match="--job a/second: a/first is not done; see its log"):
        chosen_job(jobs, "a/second")
    finish(jobs[0])
    finish(jobs[1])
    assert chosen_job(jobs, "a/second").is_current()
    later = jobs[1].record.stat().st_mtime_ns + 1
    os.utime(jobs[0].record, ns=(later, later))
    assert not chosen_job(jobs, "a/second").is_current()  # its expert was trained again since
    with pytest.raises(ConfigError, match="--job a/third: a/second is older than a step before it; run --job a/second"):
        chosen_job(jobs, "a/third")


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["data", "--slurm", "x", "--skip", "table"], ["data", "--skip", "table"]),
        (["data", "--slurm=x"], ["data"]),
        (["--data_args", "--slurm 1", "data"], ["--data_args=--slurm 1", "data"]),
    ],
)
def test_the_arrays_get_the_other_arguments(words, left):
    assert without_slurm(words) == left


@pytest.mark.parametrize("other", [["--gpus", "0"], ["--job", "b/train_E3"]])
def test_slurm_excludes_what_it_decides(tmp_path, data, other, capsys):
    assert moegs.main(["run-all", str(data), "--slurm", str(tmp_path / "slurm"), *other]) == 2
    assert f"error: --slurm and {other[0]} exclude each other" in capsys.readouterr().err
    assert not (tmp_path / "slurm").exists()
