"""render_E4.py with a clock, in a process of its own: `python -m benchmarks.whole_command.timed_render LAUNCHED FLAGS`.

LAUNCHED is the time at which the process was started, seconds of the epoch. The last line of standard output is JSON:
seconds by phase. Nothing of ours is imported before the clock runs.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from engine.runs.run import Run
    from engine.settings.rendering.render import RenderConfig

DIFFERENT = 8  # frames that are kept to measure the writing of files


def main(launched: float, flags: Sequence[str]) -> int:
    """Render, then measure the two parts of the rendering alone; print the seconds of each phase."""
    from engine.commands import render
    from engine.settings.parsing.command_line import exit_code, set_up_logging
    from engine.settings.rendering.render import read_render_settings
    from router import ENSEMBLES
    from scenes.frames.cache.whole import FrameCache

    seconds = {"imports": time.time() - launched}
    with exit_code(flags) as code:
        config = read_render_settings(ENSEMBLES["E4"], flags)
        set_up_logging(quiet=True)
        with timed(FrameCache, "prepare", seconds, "decoding"):
            seconds["loading"], (run, _) = spent(partial(render.open_run, config, ENSEMBLES["E4"]))
        seconds["loading"] -= seconds["decoding"]
        seconds["rendering"], _ = spent(partial(render.evaluate_split, run, "test", config))
        seconds["scores alone"], seconds["files alone"] = parts_alone(run, config)
        print(json.dumps(seconds))
    return code.value


def parts_alone(run: Run, config: RenderConfig) -> tuple[float, float]:
    """The seconds of the rendering without files, and those of the files of as many frames without rendering."""
    from engine.commands import render
    from engine.evaluation.mixture import evaluate_mixture, render_frame
    from engine.outputs.render_writer import RenderWriter
    from engine.settings.rendering.render_maps import need_depths

    choice, frames, maps = config.run, run.scene.num_frames, config.run.maps
    views = [(view, frame) for view in run.scene.test for frame in range(frames)]
    with tempfile.TemporaryDirectory() as folder:

        def without_files(*arguments: Any, options: Any, **named: Any) -> Any:
            named["folder"] = Path(folder)
            return evaluate_mixture(*arguments, **named, options=replace(options, videos=False, images=False))

        with mock.patch.object(render, "evaluate_mixture", without_files):
            scores, _ = spent(partial(render.evaluate_split, run, "test", config))
        kept = [
            (render_frame(run, each, depths=need_depths(maps)), run.scene.frames.read(*each))
            for each in views[:DIFFERENT]
        ]

        def write() -> None:
            names = [expert.name for expert in run.experts]
            with RenderWriter(
                Path(folder),
                names,
                fps=run.scene.frame_rate,
                videos=True,
                pngs=choice.save_img,
                maps=maps,
                encoder=choice.encoder,
            ) as writer:
                for index in range(len(views)):
                    writer.write(f"{index:05d}", writer.images(*kept[index % len(kept)]))

        files, _ = spent(write)
    return scores, files


def spent(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that some work takes, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def timed(owner: type, name: str, seconds: dict[str, float], phase: str) -> AbstractContextManager[Any]:
    """Adds the time of a method to a phase."""
    method = getattr(owner, name)
    seconds[phase] = 0.0

    def counted(*arguments: Any, **named: Any) -> Any:
        took, result = spent(partial(method, *arguments, **named))
        seconds[phase] += took
        return result

    return mock.patch.object(owner, name, counted)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
