"""Tables of aligned text: those that commands print, to the character."""

from __future__ import annotations

import pytest

from common.text.tables import Column, table_lines


def test_scores_of_methods():
    columns = [
        Column(gap=2, left=True),
        Column(heading="PSNR", width=7),
        Column(heading="SSIM", width=7),
        Column(heading="LPIPS", width=7),
        Column(heading="gate", width=7),
    ]
    rows = [["Ex4DGS", "27.31", "0.9012", "-", "0.250"], ["uniform_mean", "30.00", "0.9100", "-"]]
    assert table_lines(columns, rows) == [
        "                  PSNR    SSIM   LPIPS    gate",
        "  Ex4DGS         27.31  0.9012       -   0.250",
        "  uniform_mean   30.00  0.9100       -",
    ]


def test_without_headings_there_is_no_line_for_them():
    columns = [Column(gap=2, left=True, width=15), Column(width=6)]
    assert table_lines(columns, [["uniform mean", "31.20"], ["MoE-GS", "9.00"]]) == [
        f"  {'uniform mean':15} {31.2:6.2f}",
        f"  {'MoE-GS':15} {9.0:6.2f}",
    ]


def test_stages_of_a_training_step():
    columns = [
        Column(heading="stage", gap=0, width=30, left=True),
        Column(heading="median ms", gap=0, width=10),
        Column(heading="(least-most)", gap=2, width=19, left=True),
        Column(heading="share", gap=0, width=6),
        Column(heading="host ms", gap=0, width=10),
    ]
    lines = table_lines(columns, [["loss: SSIM", "1.50", "(1.20-1.90)", "100.0%", "0.70"]])
    assert lines == [
        f"{'stage':30}{'median ms':>10}  {'(least-most)':19}{'share':>6}{'host ms':>10}",
        f"{'loss: SSIM':30}{1.5:10.2f}  {'(1.20-1.90)':19}{1.0:6.1%}{0.7:10.2f}",
    ]


def test_a_long_cell_widens_its_column():
    lines = table_lines([Column(gap=0, left=True, width=3), Column()], [["abcdef", "1"], ["a", "10"]])
    assert lines == ["abcdef  1", "a      10"]


def test_rows_without_end():
    assert table_lines([Column(heading="a")], []) == [" a"]
    assert table_lines([Column()], []) == []
    with pytest.raises(ValueError, match="2 cells in a table of 1 columns: x, y"):
        table_lines([Column()], [["x", "y"]])
