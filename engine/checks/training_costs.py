"""Memory and time that trainings of the experts would take, told before any frame is decoded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from common.text.tables import Column, table_lines
from common.text.wording import bytes_text
from engine.errors import ConfigError
from engine.runs.cost import expert_cost
from engine.runs.device import ComputeDevice
from engine.runs.trial import WorkTime
from engine.settings.training.train_expert import TrainExpertConfig
from engine.training.expert.choice import choose_preset
from engine.training.expert.opening import check_expert_task, training_time
from engine.training.expert.recipe import recipe_for
from engine.training.expert.segments import choose_outputs
from experts import TRAINABLE, ExpertSpec
from scenes import Scene, SceneError

COLUMNS = (
    Column(heading="training of", gap=2, left=True),
    Column(heading="iterations", gap=2),
    Column(heading="Gaussians", gap=2),
    Column(heading="memory", gap=2),
    Column(heading="time", gap=2),
)


def expert_trainings(config: TrainExpertConfig, scene: Scene, compute: ComputeDevice, *, results: Path) -> list[str]:
    """Lines of a table: a training of each expert with its preset; on a GPU an iteration is tried for the time.

    Results would be written to the folder; nothing is. An expert that cannot be trained on the scene has a line of its
    own that says why.
    """
    rows, faults = [], []
    for spec in TRAINABLE.values():
        try:
            rows.append(_row(config, spec, scene, compute, results=results))
        except (ConfigError, SceneError) as error:
            faults.append(f"{spec.name} cannot be trained: {error}")
    return [*(table_lines(COLUMNS, rows) if rows else []), *faults]


def _row(
    config: TrainExpertConfig, spec: ExpertSpec, scene: Scene, compute: ComputeDevice, *, results: Path
) -> list[str]:
    config = replace(config, expert=spec.key, output=replace(config.output, model_path=results))
    recipe = recipe_for(config, spec, choose_preset(spec, "auto", scene=scene.name, layout=scene.layout)[1])
    outputs = choose_outputs(config, spec, scene, compute)
    time: WorkTime | None = None
    if compute.device.type == "cuda":  # on a CPU an iteration of a whole model may take minutes
        time = training_time([check_expert_task(config, spec, output, tries=True, keeps=False) for output in outputs])
    cost = expert_cost(scene, compute, spec, recipe, results=results, models=len(outputs))
    memory = cost.host_bytes if cost.device_bytes is None else cost.device_bytes
    iterations = recipe.iterations * len(outputs)
    short = "-" if time is None else time.short
    return [spec.name, f"{iterations:,}", f"{cost.gaussians:,}", bytes_text(memory), short]
