"""Images of a clip on disk: camXX/000000.png, as Ex4DGS and MoE-GS read them."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from common.cores import usable_cores
from common.text.progress import Progress
from common.text.units import GIGABYTE
from scenes.frames.resize import resized, training_size
from scenes.frames.sources import FrameSource
from scenes.frames.video import Video, decode_video
from scenes.preparation.options import PrepareOptions
from scenes.preparation.steps import PreparationStep, Workbench
from scenes.types import ResizeFilter, SceneError

_VERSION = 1
SHARE_OF_RAW = 0.6  # bytes of a photograph's PNG over those of its pixels, about
COMPRESSION = 3  # zlib's level

ImagesByFrame = Mapping[int, Mapping[str, Path]]  # frame number -> camera -> file


def written_frames(
    bench: Workbench, sources: Mapping[str, FrameSource], numbers: Sequence[int], options: PrepareOptions
) -> ImagesByFrame:
    """Give the files of all cameras' frames; those of videos are written first, images are used as they are.

    One step a camera, several at a time; frames that an earlier run wrote at the same size stay. SceneError where a
    video is damaged or the disk too full.
    """
    videos = {name: source for name, source in sources.items() if isinstance(source, Video)}
    ticker = _Ticker()
    steps = [_step(bench, name, video, numbers, options=options, ticker=ticker) for name, video in videos.items()]
    stale = [step for step in steps if not bench.is_current(step)]
    bench.refuse_strangers([output for step in stale for output in step.outputs])
    _check_space(bench.root, stale)
    with ticker.counting(sum(len(step.outputs) for step in stale), options.progress):
        _run_all(bench, steps, ticker)
    return {number: {name: _image(bench.root, name, sources[name], number) for name in sources} for number in numbers}


def image_size(source: FrameSource, options: PrepareOptions) -> tuple[int, int]:
    """Give width and height in px of the images that `written_frames` gives."""
    if isinstance(source, Video):
        return training_size(source.width, source.height, options.resolution)
    return source.width, source.height


def _image(root: Path, name: str, source: FrameSource, number: int) -> Path:
    return root / _output(name, number) if isinstance(source, Video) else source.paths[number]


def _output(name: str, number: int) -> str:
    return f"{name}/{number:06d}.png"


class _Ticker:
    """Counts the frames of several threads on one display, and stops all threads where one fails."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._progress: Progress | None = None

    @contextmanager
    def counting(self, total: int, shown: bool) -> Iterator[None]:
        with Progress("Writing frames", total=total, unit="frame", shown=shown) as self._progress:
            yield

    def tick(self) -> None:
        if self.stop.is_set():
            raise SceneError("writing frames stopped because another camera failed")
        assert self._progress is not None
        self._progress.advance()


def _step(
    bench: Workbench, name: str, video: Video, numbers: Iterable[int], *, options: PrepareOptions, ticker: _Ticker
) -> PreparationStep:
    """The step that writes these frames of a camera, and those that an earlier one wrote and that are still right."""
    size = image_size(video, options)
    resize = options.resize if size != (video.width, video.height) else "bilinear"

    def step(wanted: Iterable[int], present: Collection[int]) -> PreparationStep:
        outputs = {number: _output(name, number) for number in sorted(wanted)}

        def make(scratch: Path) -> None:
            targets = {number: scratch / output for number, output in outputs.items()}
            next(iter(targets.values())).parent.mkdir(parents=True)
            for number in present:  # the same file, so that what was made from it stays right
                _keep(bench.root / outputs[number], targets.pop(number))
                ticker.tick()
            _write(video, targets, size, resize, ticker)

        return PreparationStep(
            name=f"frames_{name}",
            version=_VERSION,
            inputs=[video.path],
            options={"width": size[0], "height": size[1], "resize": resize},
            outputs=list(outputs.values()),
            make=make,
        )

    record = bench.record(f"frames_{name}")
    earlier = {int(Path(output).stem) for output in record.outputs} if record else set()
    if earlier and bench.is_current(step(earlier, ())):
        return step(earlier | set(numbers), earlier)
    return step(numbers, ())


def _keep(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)


def _write(
    video: Video, targets: Mapping[int, Path], size: tuple[int, int], resize: ResizeFilter, ticker: _Ticker
) -> None:
    first, last = min(targets), max(targets)
    threads = max(1, usable_cores() // 2)
    for number, image in enumerate(decode_video(video, first, last - first + 1, threads=threads), start=first):
        if number in targets:
            Image.fromarray(resized(image, *size, resize)).save(targets[number], compress_level=COMPRESSION)
            ticker.tick()


def _check_space(root: Path, steps: Sequence[PreparationStep]) -> None:
    raw = sum(len(step.outputs) * step.options["width"] * step.options["height"] * 3 for step in steps)
    freed = sum(path.stat().st_size for step in steps for name in step.outputs if (path := root / name).is_file())
    needed, free = raw * SHARE_OF_RAW, shutil.disk_usage(root).free + freed
    if needed > free:
        raise SceneError(
            f"{root}: about {needed / GIGABYTE:.1f} GB needed for {sum(len(step.outputs) for step in steps)} frames of "
            f"{len(steps)} cameras, {free / GIGABYTE:.1f} GB free; write fewer frames, smaller ones, or free space"
        )


def _run_all(bench: Workbench, steps: Sequence[PreparationStep], ticker: _Ticker) -> None:
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="frames") as pool:
        jobs = [pool.submit(bench.run, step) for step in steps]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            ticker.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
