"""Put scores of several runs into one table: python moegs.py table SAVE_PATH ..."""

from __future__ import annotations

from collections.abc import Sequence

from common.disk.files import replacing
from engine.reporting.results import results_of_seeds
from engine.reporting.table_formats import FORMATS
from engine.runs.saved.parts import results_in
from engine.settings.parsing.command_line import set_up_logging
from engine.settings.parsing.paths import check_apart, check_folder, check_target
from engine.settings.results.table import read_table_settings


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Prints the table or writes it to a file; the exit code."""
    config = read_table_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=False, debug=config.debug)
    for path in config.save_paths:
        check_folder("SAVE_PATH", path)
    check_target("--out", config.out, file=True)
    check_apart("--out", config.out, [part for path in config.save_paths for part in results_in(path)])
    text = FORMATS[config.format]([each for path in config.save_paths for each in results_of_seeds(path)])
    if config.out is None:
        print(text, end="")
        return 0
    with replacing(config.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"written: {config.out}")
    return 0
