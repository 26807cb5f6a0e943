"""Training states that do not fit their training, of both stages: refused before anything of them is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import moegs
from engine.commands import train
from engine.runs.saved.checkpoint import STATE
from tests.engine.expert_scene import write_film
from tests.small_world import use_small_world

LAST = 4


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training of an STG model, to be resumed."""
    root = tmp_path_factory.mktemp("states")
    write_film(root)
    assert resume(root, "--test_iterations") == 0
    return root


def resume(root: Path, *more: str) -> int:
    flags = [f"--source_path={root / 'film'}", f"--model_path={root / 'stg'}", f"--iterations={LAST}"]
    flags += ["--max_points=60", "--test_frames=1", "--quiet", "--device=cpu", "--colour_correction"]
    return moegs.main(["train-expert", "stg", *flags, *more])


def moments(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = state["course"]["optimiser"]["state"][0]
    return found


def set_moment(name: str, change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    def apply(state: dict[str, Any]) -> None:
        moments(state)[name] = change(moments(state)[name])

    return apply


def with_nan(values: torch.Tensor) -> torch.Tensor:
    return torch.full_like(values, torch.nan)


def change_a_parameter(change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    def apply(state: dict[str, Any]) -> None:
        parameters = state["course"]["parameters"]
        parameters["segments.0.means"] = change(parameters["segments.0.means"])

    return apply


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "shorter": (set_moment("exp_avg", lambda values: values[:3].clone()), "exp_avg of parameter 0 is"),
    "longer": (set_moment("exp_avg_sq", lambda values: torch.cat([values, values])), "exp_avg_sq of parameter 0 is"),
    "transposed": (set_moment("exp_avg", lambda values: values.T.clone()), "exp_avg of parameter 0 is"),
    "double": (set_moment("exp_avg", torch.Tensor.double), "torch.float32 expected"),
    "nan": (set_moment("exp_avg", with_nan), "NaN or infinite"),
    "negative": (set_moment("exp_avg_sq", lambda values: values - 1), "exp_avg_sq of parameter 0 is negative"),
    "stride 0": (set_moment("exp_avg", lambda values: torch.zeros(1).expand(10**13)), "shows more than its storage"),
    "no tensor": (set_moment("exp_avg", lambda values: 3), "exp_avg of parameter 0 is a int"),
    "step": (set_moment("step", lambda values: torch.tensor(torch.inf)), "the step of parameter 0"),
    "missing": (lambda state: moments(state).pop("exp_avg"), "parameter 0 has the moments"),
    "index": (lambda state: state["course"]["optimiser"]["state"].update({99: moments(state)}), "parameter 99"),
    "rate": (lambda state: state["course"]["optimiser"]["param_groups"][0].update(lr=torch.nan), "lr of group"),
    "other rows": (change_a_parameter(lambda values: values[:5].clone()), "expected"),
    "other columns": (change_a_parameter(lambda values: values[:, :2].clone()), "expected"),
    "other type": (change_a_parameter(torch.Tensor.half), "torch.float32 expected"),
    "statistics": (lambda state: state["course"]["statistics"][0].update(seen=torch.zeros(2)), "the statistics seen"),
    "image": (lambda state: state["course"].update(pending=[[[99, 0]]]), "cameras holds 99"),
    "correction": (lambda state: state["correction"]["parameters"].clear(), "parameters differ"),
    "list": (lambda state: state["course"].update(sampler=[], statistics=[[]]), "not a readable training state"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_experts_state_that_does_not_fit_is_refused(
    trained: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    path = trained / "stg" / "training" / f"iteration_{LAST}.pt"
    whole, (change, message) = path.read_bytes(), FAULTS[fault]
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    try:
        assert resume(trained, "--resume") == 2
    finally:
        path.write_bytes(whole)
    error = capsys.readouterr().err
    assert str(path) in error and message in error and len(error.splitlines()) == 1


ROUTER_FAULTS: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "shorter": lambda state: state.update({"optimiser.0.exp_avg": torch.zeros(3)}),
    "double": lambda state: state.update({"optimiser.0.exp_avg": state["optimiser.0.exp_avg"].double()}),
    "nan": lambda state: state.update({"optimiser.0.exp_avg": with_nan(state["optimiser.0.exp_avg"])}),
    "index": lambda state: state.update({"optimiser.99.exp_avg": torch.zeros(3)}),
    "missing": lambda state: state.pop("optimiser.0.exp_avg"),
    "random": lambda state: state.update(torch_random=torch.zeros(3, dtype=torch.uint8)),
    "seed": lambda state: state.update(seed=torch.zeros(2, 2)),
}


def test_a_routers_state_that_does_not_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [f"--save_path={tmp_path / 'out'}", "--quiet"]
    few = ["--iterations=2", "--save_iterations", "2", "--test_iterations"]
    assert train.main("E3", [*use_small_world(monkeypatch, tmp_path), *few, *out]) == 0
    path = tmp_path / "out" / "router" / "iteration_2" / STATE
    whole = load_file(path)
    for fault, change in ROUTER_FAULTS.items():
        state = dict(whole)
        change(state)
        save_file(state, path)
        capsys.readouterr()
        assert train.main("E3", [*out, "--resume", "--iterations=3"]) == 2, fault
        assert f"{path}: damaged" in capsys.readouterr().err
