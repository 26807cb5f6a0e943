"""Scores of an expert in training on the held-out cameras of its scene."""

from __future__ import annotations

from engine.evaluation.expert import ExpertScores, evaluate_expert
from engine.evaluation.scoring import evenly_spread
from engine.outputs.files import results_folder
from engine.runs.experts.novel_near import lone_rules
from engine.settings.training.train_expert import TrainExpertConfig
from engine.training.expert.saves import ExpertOutput, covered
from experts import Expert


def held_out_scores(
    model: Expert,
    output: ExpertOutput,
    config: TrainExpertConfig,
    iteration: int,
    wanted: int | None,
    *,
    networks: bool,
) -> ExpertScores | None:
    """Scores at so many frames, None for all, whose images go to the iteration's folder; None: the model shows none.

    networks: also by measures that are networks.
    """
    frames = covered(model, evenly_spread(output.scene.num_frames, wanted))
    if not frames:
        return None
    guard = config.output.coverage_guard == "on"
    near = config.output.novel_near
    return evaluate_expert(
        model,
        output.scene,
        compute=output.compute,
        folder=results_folder(output.folder, "test", iteration),
        frames=frames,
        networks=networks,
        lpips_weights=config.output.lpips_weights,
        quiet=config.machine.quiet,
        novel=lone_rules(output.scene, model, output.compute, near=near, guard=guard, frames=frames),
    )
