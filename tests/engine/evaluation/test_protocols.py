"""Each named protocol fixes what it says, and no number of the older ones moved."""

from __future__ import annotations

import math

import pytest
import torch

from engine.evaluation.measures.metric_types import MetricRequest
from engine.evaluation.measures.metrics import METRICS
from engine.evaluation.measures.preparation import prepared
from engine.evaluation.measures.suite import NOT_OF_PROTOCOL, open_suite
from engine.evaluation.scoring import prepare_reference, score
from engine.runs.device import CPU
from engine.settings.rendering.metric_protocols import DEFAULT_PROTOCOL, PROTOCOLS, protocol_facts, protocols_help

#            8 bits, clamped, LPIPS's net, its range, further metrics
FACTS = {
    "8bit": (True, True, "alex", "[-1, 1]", ""),
    "8bit_vgg": (True, True, "vgg", "[-1, 1]", ""),
    "upstream": (False, False, "alex", "[0, 1]", ""),
    "moegs": (True, True, "alex", "[-1, 1]", "lpips_vgg"),
    "ex4dgs": (False, False, "alex", "[0, 1]", "lpips_vgg ssim1 ssim2"),
    "stg": (False, True, "alex", "[0, 1]", "lpips_vgg dssim1 dssim2"),
    "3dgs-habit": (False, True, "vgg", "[0, 1]", "lpips_alex"),
    "3dgs-files": (True, True, "vgg", "[0, 1]", "lpips_alex"),
}


def suite_of(name: str):
    return open_suite(MetricRequest(protocol=PROTOCOLS[name], cameras=(), device=CPU), networks=False)


def test_the_default_is_8bit():
    assert DEFAULT_PROTOCOL == "8bit"
    assert list(PROTOCOLS) == list(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_a_protocol_is_what_its_code_does(name):
    protocol = PROTOCOLS[name]
    eight_bit, clamped, net, value_range, extras = FACTS[name]
    assert (protocol.eight_bit, protocol.clamped, protocol.lpips_net) == (eight_bit, clamped, net)
    assert protocol.extras == tuple(extras.split())
    facts = protocol_facts(protocol)
    assert f"LPIPS({net}) on {value_range}" in facts and "SSIM of 3DGS" in facts
    assert ("rounded to 8 bits" in facts, "neither clamped" in facts) == (eight_bit, not clamped)
    (text,) = (text for text in protocols_help().split("; ") if text.split(":")[0].split(" ")[0] == name)
    assert f"LPIPS({net}) on {value_range}" in text and ("8 bits" in text, "not clamped" in text) == (
        eight_bit,
        not clamped,
    )
    assert set(protocol.extras) == {
        metric
        for metric, opened in suite_of(name).metrics.items()
        if METRICS[metric].of_protocol and opened is not NOT_OF_PROTOCOL
    }


def test_images_are_treated_as_the_protocol_says():
    image = torch.tensor([-0.2, 0.5003, 1.3]).expand(3, 1, 3)
    rounded = [0.0, 128 / 255, 1.0]
    expected = {"8bit": rounded, "upstream": [-0.2, 0.5003, 1.3], "stg": [0, 0.5003, 1]}
    same = {"8bit_vgg": "8bit", "moegs": "8bit", "3dgs-files": "8bit", "ex4dgs": "upstream", "3dgs-habit": "stg"}
    for name, protocol in PROTOCOLS.items():
        values = prepared(protocol, image)[0, 0].tolist()
        assert values == pytest.approx(expected[same.get(name, name)], abs=1e-7), name


def test_old_names_keep_their_bits():
    """The formulas of the published protocols, written down once more."""
    image, truth = torch.rand(2, 3, 40, 44, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    truth = (truth.clamp(0, 1) * 255).round() / 255
    rounded = (image.clamp(0, 1) * 255).round() / 255
    for name, shown in {"8bit": rounded, "8bit_vgg": rounded, "upstream": image}.items():
        suite = suite_of(name)
        error = (shown.double() - truth.double()).square().mean()
        assert score(suite, image, prepare_reference(suite, truth))["psnr"] == float(-10 * torch.log10(error))
        assert math.isfinite(error)
