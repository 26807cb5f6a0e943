"""The jobs of a data set as arrays of the scheduler SLURM: a script for each stage, and one that submits them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.disk.files import replacing
from common.text.suggestions import hint
from common.text.wording import ROOT, shell
from engine.errors import ConfigError
from engine.pipeline.jobs import Job

TABLE = "table"  # the name of the last job, of all scenes
STAGE = """\
#!/bin/bash
#SBATCH --job-name=moegs_{number}
#SBATCH --array=0-{last}
#SBATCH --gpus=1
#SBATCH --signal=B:TERM@120
#SBATCH --output={folder}/%A_%a.txt
# Each line of stage_{number}.txt is a job. One that is done ends at once.
job=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {list})
cd {here}
exec {command} --job "$job"
"""
SUBMIT = """\
#!/bin/bash
# Submits all stages, each after the one before. Arguments go to every sbatch: --partition=NAME --time=24:00:00
set -euo pipefail
cd {folder}
{lines}
"""


def job_name(job: Job) -> str:
    """The name by which `--job` finds a job: "flame_steak/expert_stg"."""
    return f"{job.scene}/{job.step}"


def stages(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs by the number of steps that come before them in their scene."""
    depths: dict[tuple[str, str], int] = {}
    for job in jobs:
        depths[job.scene, job.step] = 1 + max((depths.get((job.scene, step), 0) for step in job.after), default=0)
    found = sorted(set(depths.values()))
    return [[job for job in jobs if depths[job.scene, job.step] == depth] for depth in found]


def write_slurm(folder: Path, jobs: Sequence[Job], arguments: Sequence[str], *, with_table: bool) -> Path:
    """Writes `stage_N.txt`, `stage_N.sbatch` and `submit.sh`, which it returns.

    arguments: of run-all, without those that choose a job.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("stage_*"):
        old.unlink()
    command = shell(sys.executable, ROOT / "moegs.py", "run-all", *arguments)
    names = [[job_name(job) for job in stage] for stage in stages(jobs)] + ([[TABLE]] if with_table else [])
    for number, stage in enumerate(names, 1):
        listed = folder / f"stage_{number}.txt"
        _write(listed, "".join(f"{name}\n" for name in stage))
        values = {"number": number, "last": len(stage) - 1, "folder": shell(folder), "list": shell(listed)}
        text = STAGE.format(**values, here=shell(Path.cwd()), command=command)
        _write(folder / f"stage_{number}.sbatch", text)
    lines = [_submission(number) for number in range(1, len(names) + 1)]
    return _write(folder / "submit.sh", SUBMIT.format(folder=shell(folder), lines="\n".join(lines)))


def _submission(number: int) -> str:
    """The line that submits a stage once the one before has ended: a job checks what it needs itself."""
    after = f' --dependency="afterany:$stage_{number - 1}"' if number > 1 else ""
    return f'stage_{number}=$(sbatch --parsable{after} "$@" stage_{number}.sbatch)'


def _write(path: Path, text: str) -> Path:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def chosen_job(jobs: Sequence[Job], name: str) -> Job:
    """The job of a name; ConfigError where there is none, or where a job that comes before it is to be run first."""
    by_name: Mapping[str, Job] = {job_name(job): job for job in jobs}
    if name not in by_name:
        raise ConfigError(f"--job {name}: there is no such job; {hint(name, [*by_name, TABLE])}")
    job = by_name[name]
    for each in (each for each in jobs if each.scene == job.scene and each.step in job.after):
        if not each.is_done():
            raise ConfigError(f"--job {name}: {job_name(each)} is not done; see its log, {each.log}")
        if not each.is_current():
            raise ConfigError(
                f"--job {name}: {job_name(each)} is older than a step before it; run --job "
                f"{shell(job_name(each))} first"
            )
    return job
