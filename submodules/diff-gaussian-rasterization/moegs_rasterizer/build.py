"""Compiles a back-end ahead of its first use: `python -m moegs_rasterizer.build [--cuda]`."""

from __future__ import annotations

import argparse
import logging
import sys

from .compile import cpp_library, cuda_library
from .compile.steps import BuildError


def main() -> None:
    """Compile a back-end now, not at its first use, and print the path of its library."""
    parser = argparse.ArgumentParser(
        prog="python -m moegs_rasterizer.build",
        description=main.__doc__,
        epilog="examples:\n  python -m moegs_rasterizer.build\n  python -m moegs_rasterizer.build --cuda",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--force", action="store_true", help="compile again, even if the library is in the cache")
    parser.add_argument("--cuda", action="store_true", help="build the CUDA back-end instead of the C++ one")
    parser.add_argument(
        "--cuda_archs",
        metavar='"80;90"',
        help="with --cuda: compute capabilities of the GPUs to compile for (default: "
        f"${cuda_library.ARCHITECTURES_VARIABLE}, else the visible GPUs, else 90)",
    )
    arguments = parser.parse_args()
    if arguments.cuda_archs is not None and not arguments.cuda:
        parser.error("--cuda_archs goes with --cuda")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        if arguments.cuda:
            named = cuda_library.named_architectures(arguments.cuda_archs)
            name, built = "CUDA", cuda_library.library(named, force=arguments.force)
        else:
            name, built = "C++", cpp_library.library(force=arguments.force)
    except BuildError as error:
        sys.exit(f"error: {error}")
    how = f"compiled in {built.seconds:.1f} s" if built.seconds else "already built"
    print(f"moegs_rasterizer: {name} back-end {how}: {built.path}")


if __name__ == "__main__":
    main()
