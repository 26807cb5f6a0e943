"""The parts of a report: markup that is escaped, charts, images and claims."""

from __future__ import annotations

import base64
import math
import re
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from engine.outputs.colours import expert_colours
from engine.outputs.frame_images import FrameImages
from engine.outputs.maps import error_colours
from engine.reporting.claims import claims, compare, listed
from engine.reporting.pages.charts import Line, colour_of, line_chart, tick_texts, ticks
from engine.reporting.pages.markup import IMAGE_WIDTH, Html, element, empty_element, facts_table, image, page, table
from engine.reporting.pages.run_frames import psnr_of_image, strongest, winners, without
from router import Mixture

EVIL = '<script>alert("x")</script>&'


def test_text_and_attributes_are_escaped() -> None:
    made = element("p", EVIL, Html("<b>bold</b>"), 3, title=EVIL, class_="a", data_name="b", other=None)
    assert made.text == (
        '<p title="&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;" class="a" data-name="b">'
        "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;<b>bold</b>3</p>"
    )
    assert empty_element("line", x1=1).text == '<line x1="1" />'
    parts = [table([EVIL], [[EVIL]]), facts_table({EVIL: EVIL}), image(np.zeros((2, 2, 3), np.uint8), EVIL)]
    text = page(EVIL, *parts, EVIL)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 9  # title, heading, two of each table, of the image two, the end


def test_a_page_is_for_phones_and_needs_no_other_file() -> None:
    text = page("title", "text")
    assert text.startswith("<!DOCTYPE html>")
    assert '<meta name="viewport" content="width=device-width, initial-scale=1" />' in text
    assert re.findall(r"https?://|<link|@import|src=", text) == []


@pytest.mark.parametrize(("shape", "flat"), [((300, 960, 3), False), ((300, 960), False), ((300, 960, 3), True)])
def test_images_are_inside_the_page_and_bounded(shape: tuple[int, ...], flat: bool) -> None:
    pixels = np.full(shape, 90, np.uint8)
    made = image(pixels, "caption", flat=flat).text
    kind, data = re.search(r'src="data:image/(\w+);base64,([^"]+)"', made).groups()  # type: ignore[union-attr]
    assert kind == ("png" if flat else "jpeg")
    with Image.open(BytesIO(base64.b64decode(data))) as opened:
        assert opened.size == (IMAGE_WIDTH, 150)
        assert np.abs(np.asarray(opened.convert("RGB")).astype(int) - 90).max() <= 2
    assert 'alt="caption"' in made and "<figcaption>caption</figcaption>" in made


def test_a_chart_draws_each_line_where_its_values_are() -> None:
    lines = [
        Line(name="one", points=[(0, 10.0), (10, 20.0)], colour="#111111"),
        Line(name="two <b>", points=[(0, 15.0), (5, math.nan), (10, 15.0)], colour="#222222"),
    ]
    text = line_chart(lines, x="frame", y="PSNR, dB").text
    (points,) = re.findall(r'<polyline points="([^"]+)"', text)
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in points.split())
    assert (x0, x1) == (96.0, 736.0) and y1 < y0  # the whole width, and up
    dots = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', text)]
    assert dots == pytest.approx([(y0 + y1) / 2] * 2, abs=0.1)  # a gap makes two dots, halfway up
    assert "two &lt;b&gt;" in text and "frame" in text and "PSNR, dB" in text


def test_a_chart_without_values_says_so_and_a_long_line_is_thinned() -> None:
    assert "no values" in line_chart([Line(name="a", points=[(0, math.inf)], colour="#111111")], x="x", y="y").text
    points = [(float(index), float(index)) for index in range(5000)]
    (drawn,) = re.findall(
        r'points="([^"]+)"', line_chart([Line(name="a", points=points, colour="#1")], x="", y="").text
    )
    assert len(drawn.split()) <= 400
    assert "<circle" in line_chart([Line(name="a", points=[(3, 4.0)], colour="#111111")], x="x", y="y").text


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 30, [0, 5, 10, 15, 20, 25, 30]), (0.1, 0.52, [0.1, 0.2, 0.3, 0.4, 0.5]), (31.2, 31.9, None)],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float] | None) -> None:
    values = ticks(low, high)
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in values) and 3 <= len(values) <= 9
    assert expected is None or values == pytest.approx(expected)


def scores(psnr: float | None, ssim: float | None = None, lpips: float | None = None) -> dict[str, float | None]:
    return {"psnr": psnr, "ssim": ssim, "lpips": lpips}


@pytest.mark.parametrize(
    ("mixture", "others", "text"),
    [
        (scores(32, 0.95, 0.1), [scores(31, 0.9, 0.2)], "better in PSNR, SSIM and LPIPS"),
        (scores(32, 0.95, 0.1), [scores(31, 0.9, 0.09)], "better in PSNR and SSIM; not better in LPIPS"),
        (
            scores(32.001, 0.9),
            [scores(32.004, 0.8)],
            "better in SSIM; not better in PSNR; not measured: LPIPS",
        ),
        (
            scores(32, 0.95, 0.1),
            [scores(31, 0.9, 0.2), scores(33, 0.8, 0.2)],
            "better in SSIM and LPIPS; not better in PSNR",
        ),
    ],
)
def test_a_claim_names_its_metrics(mixture: dict, others: list[dict], text: str) -> None:
    assert compare(mixture, others).text() == text


def test_claims_of_a_table() -> None:
    means = {
        "STG": scores(31, 0.9, 0.1),
        "Ex4DGS": scores(30, 0.95, 0.2),
        "uniform_mean": scores(31.5, 0.93, 0.2),
        "MoE": scores(32, 0.94, 0.15),
    }
    assert claims(means) == [
        "MoE-GS against every one of its 2 experts: better in PSNR; not better in SSIM and LPIPS.",
        "MoE-GS against the uniform mean: better in PSNR, SSIM and LPIPS.",
    ]
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([24.0, 24.5, 25.0], ["24.0", "24.5", "25.0"]),
        ([0.045, 0.05], ["0.045", "0.050"]),
        ([0.0, 2e6, 4e6], ["0", "2e+06", "4e+06"]),
        ([], []),
    ],
)
def test_texts_of_an_axis_have_equally_many_decimals(values: list[float], texts: list[str]) -> None:
    assert tick_texts(values) == texts


def grey(*levels: int) -> np.ndarray:
    """One row of pixels, 7 of each level."""
    return np.repeat(np.repeat(np.array(levels, np.uint8), 7)[None, :, None], 3, axis=2)


def test_maps_of_a_frame() -> None:
    images = FrameImages(
        truth=grey(100, 100),
        image=grey(100, 164),
        experts=(grey(101, 120), grey(110, 105)),
        gates=(grey(200, 10)[..., 0], grey(55, 245)[..., 0]),
    )
    assert winners(images)[0, [0, 13]].tolist() == [0, 1]
    assert strongest(images)[0].tolist() == [0] * 7 + [1] * 7
    assert [colour_of(index) for index in range(2)] == ["#0072b2", "#e69f00"]
    assert expert_colours(2).tolist() == [[0, 114, 178], [230, 159, 0]]
    error = error_colours(images.image, images.truth)
    assert error[0, 0].tolist() == [0, 0, 0] and error[0, 13].tolist() == [255, 255, 255]  # 64 levels are white


def test_a_mixture_without_an_expert_shares_its_gate_in_the_ratio_of_the_others() -> None:
    images = torch.tensor([0.0, 0.4, 1.0]).view(3, 1, 1, 1).expand(3, 3, 1, 2)
    gates = torch.tensor([[[0.5, 1.0]], [[0.375, 0.0]], [[0.125, 0.0]]])
    mixture = Mixture(image=torch.zeros(3, 1, 2), images=images, gates=gates, logits=gates)
    lacking = without(mixture, 0)
    assert lacking[0, 0].tolist() == pytest.approx([0.75 * 0.4 + 0.25 * 1.0, 0.7])  # equal shares where all are 0
    assert without(mixture, 2)[0, 0].tolist() == pytest.approx([0.375 / 0.875 * 0.4, 0.0])


def test_psnr_of_an_image_is_that_of_eight_bits() -> None:
    image_ = torch.full((3, 4, 4), 100.4 / 255)
    assert psnr_of_image(image_, np.full((4, 4, 3), 110, np.uint8)) == pytest.approx(
        -20 * math.log10(10 / 255), abs=1e-4
    )


def test_a_page_of_noise_stays_below_five_megabytes() -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, size=(360, 480, 3), dtype=np.uint8)
    levels = generator.integers(0, 4, size=(360, 480))
    photo, flat = (
        image(noise, "a").text,
        image(expert_colours(4)[levels], "b", flat=True).text,
    )
    experts = 4
    assert 2 * ((3 + experts) * len(photo) + 2 * len(flat)) < 4_000_000
