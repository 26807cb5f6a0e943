from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from common.disk.sealed import sealed
from scenes import SceneError
from scenes.preparation.steps import PreparationStep, Workbench, opened
from tests.scenes.preparation.stand_in import Killed, contents, killed_at


class Copying:
    """A step that writes its option into a file and a folder, and counts how often."""

    def __init__(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        self.bench = Workbench(root)
        self.root = root
        self.made = 0
        self.source = root / "source.txt"
        if not self.source.exists():
            self.source.write_text("source")

    def step(
        self, text: str = "a", *, version: int = 1, outputs: tuple[str, ...] = ("file.txt", "folder")
    ) -> PreparationStep:
        def make(scratch: Path) -> Any:
            self.made += 1
            for name in outputs:
                inside = [f"{name}/1.txt", f"{name}/deep/2.txt"] if name == "folder" else [name]
                for path in inside:
                    (scratch / path).parent.mkdir(parents=True, exist_ok=True)
                    with open(scratch / path, "w") as file:
                        file.write(text + self.source.read_text())
            return {"text": text, "sizes": (1, 2)}

        return PreparationStep(
            name="copy", version=version, inputs=[self.source], options={"text": text}, outputs=outputs, make=make
        )


def test_an_unchanged_step_is_skipped_and_gives_the_same_result(tmp_path: Path) -> None:
    copying = Copying(tmp_path)
    first = copying.bench.run(copying.step())
    assert copying.bench.run(copying.step()) == first == {"text": "a", "sizes": [1, 2]}
    assert copying.made == 1
    assert [report.outcome for report in copying.bench.reports] == ["done", "skipped"]
    assert (tmp_path / "folder" / "deep" / "2.txt").read_text() == "asource"
    assert not (tmp_path / "preparation" / "unfinished" / "copy").exists()


def shorten(root: Path) -> None:
    (root / "file.txt").write_text("a")


def remove(root: Path) -> None:
    (root / "folder" / "1.txt").unlink()


def add(root: Path) -> None:
    (root / "folder" / "more.txt").write_text("not of this step")


def rewrite(root: Path) -> None:
    path = root / "folder" / "deep" / "2.txt"
    path.write_text("bsource")
    os.utime(path, ns=(0, 0))


def change_input(root: Path) -> None:
    (root / "source.txt").write_text("another source")


def break_record(root: Path) -> None:
    (root / "preparation" / "copy.json").write_text('{"version": 1')
    (root / "file.txt").unlink()
    (root / "folder").rename(root / "away")


@pytest.mark.parametrize("change", [shorten, remove, add, rewrite, change_input, break_record])
def test_a_step_is_made_again_where_an_output_or_input_changed(tmp_path: Path, change: Any) -> None:
    copying = Copying(tmp_path)
    copying.bench.run(copying.step())
    change(tmp_path)
    copying.bench.run(copying.step())
    assert copying.made == 2
    assert (tmp_path / "file.txt").read_text() == "a" + copying.source.read_text()
    assert sorted(path.name for path in (tmp_path / "folder").rglob("*")) == ["1.txt", "2.txt", "deep"]
    copying.bench.run(copying.step())
    assert copying.made == 2


def test_another_option_or_version_or_set_of_outputs_makes_it_again_and_removes_what_is_stale(tmp_path: Path) -> None:
    copying = Copying(tmp_path)
    for number, step in enumerate(
        [copying.step(), copying.step("b"), copying.step("b", version=2), copying.step("b", version=2, outputs=("x",))]
    ):
        copying.bench.run(step)
        assert copying.made == number + 1
    assert contents(tmp_path) == {"source.txt": b"source", "x": b"bsource"}


def test_what_no_preparation_wrote_is_not_overwritten(tmp_path: Path) -> None:
    copying = Copying(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(SceneError, match=r"folder would be overwritten.*move it away"):
        copying.bench.run(copying.step())
    assert copying.made == 0
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    copying = Copying(tmp_path)
    copying.source.unlink()
    with pytest.raises(SceneError, match=r"source\.txt: no such file, needed for copy"):
        copying.bench.run(copying.step())


def test_an_input_that_changes_meanwhile_is_found(tmp_path: Path) -> None:
    copying = Copying(tmp_path)
    step = copying.step(outputs=())
    changing = PreparationStep(
        name="copy",
        version=1,
        inputs=step.inputs,
        options={},
        outputs=[],
        make=lambda scratch: copying.source.write_text("longer than before"),
    )
    with pytest.raises(SceneError, match="inputs of copy changed"):
        copying.bench.run(changing)
    assert copying.bench.record("copy") is None


def test_an_error_names_the_place_of_the_output_not_the_scratch_folder(tmp_path: Path) -> None:
    copying = Copying(tmp_path)

    def poor(scratch: Path) -> None:
        raise SceneError(f"{scratch / 'folder'}: too poor")

    step = PreparationStep(name="copy", version=1, inputs=[], options={}, outputs=["folder"], make=poor)
    with pytest.raises(SceneError, match=f"^{tmp_path / 'folder'}: too poor"):
        copying.bench.run(step)


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copying = Copying(tmp_path)
    copying.bench.run(copying.step())
    before = contents(tmp_path)

    def full(scratch: Path) -> None:
        (scratch / "file.txt").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", str(scratch / "file.txt"))

    step = copying.step("b")
    broken = PreparationStep(
        name=step.name, version=1, inputs=step.inputs, options={"text": "b"}, outputs=step.outputs, make=full
    )
    with pytest.raises(SceneError, match=r"No space left on device \(copy\); free space") as caught:
        copying.bench.run(broken)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before
    copying.bench.run(copying.step())
    assert copying.made == 1


def test_killed_anywhere_it_is_never_half_there_and_the_next_run_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {text: {f"folder/{name}": f"{text}source".encode() for name in ("1.txt", "deep/2.txt")} for text in "ab"}
    last = None
    for operation in range(100):
        copying = Copying(tmp_path / str(operation))
        copying.bench.run(copying.step("a"))
        try:
            with killed_at(monkeypatch, operation) as tried:
                copying.bench.run(copying.step("b", outputs=("folder", "new.txt")))
            last = operation
        except Killed:
            assert len(tried) > operation
        left = contents(copying.root)
        folder = {name: content for name, content in left.items() if name.startswith("folder/")}
        assert folder in (whole["a"], whole["b"], {}), operation
        assert left.get("file.txt") in (b"asource", None)
        assert left.get("new.txt") in (b"bsource", None)
        with opened(copying.root) as bench:
            bench.run(copying.step("b", outputs=("folder", "new.txt")))
        assert contents(copying.root) == {"source.txt": b"source", "new.txt": b"bsource", **whole["b"]}
        assert not (copying.root / "preparation" / "unfinished" / "copy").exists()
        if last is not None:
            break
    assert last is not None and last > 8


def test_a_missing_or_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SceneError, match="nowhere: no such folder"), opened(tmp_path / "nowhere"):
        pass

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "preparation"))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SceneError, match=r"preparation: Permission denied"), opened(tmp_path):
        pass


def test_a_dropped_step_leaves_neither_outputs_nor_record(tmp_path: Path) -> None:
    copying = Copying(tmp_path)
    before = contents(tmp_path)
    copying.bench.run(copying.step(outputs=("file.txt", "folder", "own/0.txt", "shared/0.txt")))
    (tmp_path / "shared" / "mine.txt").write_text("mine")
    assert copying.bench.recorded() == ["copy"]
    copying.bench.drop("copy")
    assert contents(tmp_path) == before | {"shared/mine.txt": b"mine"}
    assert not (tmp_path / "own").exists()
    assert (copying.bench.recorded(), copying.bench.owned()) == ([], set())
    copying.bench.run(copying.step())
    assert copying.made == 2


@pytest.mark.parametrize("name", ["../outside/victim", "{outside}/victim", "{outside}", "../outside"])
@pytest.mark.parametrize("how", ["run", "drop"])
def test_a_record_that_claims_files_outside_the_scene_is_refused(tmp_path: Path, name: str, how: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("mine")
    copying = Copying(tmp_path / "scene")
    copying.bench.run(copying.step())
    record = tmp_path / "scene" / "preparation" / "copy.json"
    facts = json.loads(record.read_text()) | {"version": 0, "outputs": [name.format(outside=outside)]}
    del facts["hash"]
    record.write_text(json.dumps(sealed(facts)))
    with pytest.raises(SceneError, match=r"copy.json: is not a record of this scene, .*remove the file"):
        copying.bench.run(copying.step()) if how == "run" else copying.bench.drop("copy")
    assert (outside / "victim").read_text() == "mine"


def test_a_record_that_changed_is_not_believed_and_one_without_a_hash_is(tmp_path: Path) -> None:
    copying = Copying(tmp_path)
    copying.bench.run(copying.step())
    record = tmp_path / "preparation" / "copy.json"
    facts = json.loads(record.read_text())
    record.write_text(json.dumps(facts | {"result": "another"}))
    assert copying.bench.record("copy") is None
    earlier = {key: value for key, value in facts.items() if key != "hash"}  # as earlier versions wrote it
    record.write_text(json.dumps(earlier))
    assert copying.bench.is_current(copying.step())


def test_planted_links_and_pipes_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name, plant in (("lock", False), ("pipe", False), ("folder", True)):
        scene = tmp_path / name
        scene.mkdir()
        if plant:
            (scene / "preparation").symlink_to(outside)
        else:
            (scene / "preparation").mkdir()
            lock = scene / "preparation" / ".lock"
            lock.symlink_to(outside / "victim") if name == "lock" else os.mkfifo(lock)
        with pytest.raises(SceneError, match="preparation"), opened(scene):
            pass
    assert not list(outside.iterdir())


def test_outputs_are_not_moved_through_a_link_out_of_the_scene(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    copying = Copying(tmp_path / "scene")
    (tmp_path / "scene" / "folder").symlink_to(outside)
    with pytest.raises(SceneError, match=r"leads out of .* by a link"):
        copying.bench.run(copying.step(outputs=("folder/1.txt",)))
    assert not list(outside.iterdir())
