"""The conditions of a measurement as a section of a report: protocol, hardware, times, sizes, versions, hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.text.wording import duration
from engine.reporting.pages.markup import Html, Part, element, facts_table, section
from engine.reporting.results import number


def conditions_section(facts: Mapping[str, Any]) -> Html:
    """Make the section of a metrics.json or a train_expert.json; what it does not record is left out."""
    rows = {name: value for name, value in _rows(facts) if value not in (None, "", "-")}
    return section("Conditions", facts_table(rows))


def _rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, Part]]:
    protocol = facts.get("protocol") or {}
    for name, text in protocol.items():
        yield f"protocol: {name}", str(text)
    yield "LPIPS weights", _text(facts.get("lpips_weights"))
    yield "softmax temperature", _text(facts.get("temperature"))
    if facts.get("network_precision") not in (None, "float32"):
        yield "experts' networks", f"in {facts['network_precision']}"
    if facts.get("fast"):
        yield "blending", "in half precision"
    near = facts.get("novel_near")
    yield "near plane of held-out cameras", "none" if near is None else f"{near:.3g} scene units"
    yield "coverage guard", "on" if facts.get("coverage_guard") else "off"
    if facts.get("towards_mean"):
        yield "gates of held-out cameras", f"shrunk by {facts['towards_mean']:.2f} towards equal ones{_judge(facts)}"
    if facts.get("fill_holes"):
        yield "holes", "filled with the colours around them"
    elif facts.get("hole_colour"):
        red, green, blue = (round(255 * value) for value in facts["hole_colour"])
        yield "holes", f"mean colour of the training views, RGB {red} {green} {blue}"
    yield "device", _text(facts.get("device"))
    yield "frames per second", _form(_frames_per_second(facts), "{:.1f} (median; rendering alone, without scoring)")
    yield "peak GPU memory", _form(number(facts.get("peak_gpu_memory_mib")), "{:,.0f} MiB in tensors")
    yield "Gaussians", _total(facts.get("gaussians"), "{:,.0f}")
    yield "size on disk", _total(facts.get("megabytes"), "{:.1f} MB")
    seconds = facts.get("training_seconds")
    yield (
        "training of the router" if isinstance(seconds, Mapping) else "training",
        seconds_text(seconds.get("router") if isinstance(seconds, Mapping) else seconds),
    )
    yield "seed", _text(facts.get("seed"))
    yield "git revision", _text(facts.get("revision"))
    yield "versions", ", ".join(f"{name} {value}" for name, value in (facts.get("versions") or {}).items())


def _judge(facts: Mapping[str, Any]) -> str:
    judge = facts.get("judge")
    return f" (the judge is {judge['camera']})" if isinstance(judge, Mapping) and "camera" in judge else ""


def _frames_per_second(facts: Mapping[str, Any]) -> float | None:
    return number((facts.get("timing") or facts).get("frames_per_second"))


def _total(value: Any, form: str) -> str:
    """The total of a table by expert, or a number."""
    return _form(number(value.get("total") if isinstance(value, Mapping) else value), form)


def _form(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def seconds_text(value: Any) -> str:
    """A time for people; "-" where it is not recorded."""
    seconds = number(value)
    return "-" if seconds is None else duration(seconds)


def hash_rows(facts: Mapping[str, Any]) -> dict[str, Part]:
    """Every hash of a result file by its name: "predictions, MoE"."""
    return {name: element("code", value) for name, value in _flat(facts.get("hashes") or {})}


def _flat(hashes: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in hashes.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}, ")
        else:
            yield f"{before}{name}", str(value)
