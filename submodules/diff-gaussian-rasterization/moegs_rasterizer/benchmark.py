"""Times of the rasterizer on seeded random scenes: `python -m moegs_rasterizer.benchmark`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import torch

from . import benchmark_cpu, benchmark_cuda
from .types import RasterizerError

CPU_ONLY = ("large", "threads", "no_oracle")


def main() -> None:
    """Print the GPU's table where the CUDA back-end runs, else the CPU's; medians with their range, milliseconds."""
    parser = argparse.ArgumentParser(prog="python -m moegs_rasterizer.benchmark", description=main.__doc__)
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="what to time")
    parser.add_argument("--quick", action="store_true", help="small scenes and few runs, to see that it works")
    parser.add_argument("--repeats", type=_positive, help="timed runs of each entry")
    parser.add_argument("--seed", type=int, default=0, help="seed of the scenes")
    parser.add_argument("--stages", action="store_true", help="GPU only: the stages of one pass, nothing else")
    cpu = parser.add_argument_group("CPU only")
    large = benchmark_cpu.LARGE
    cpu.add_argument("--large", action="store_true", help=f"{large.count} Gaussians at {large.width}x{large.height}")
    cpu.add_argument("--threads", type=_positive, help="PyTorch threads")
    cpu.add_argument("--no_oracle", action="store_true", help="leave the PyTorch back-end out")
    arguments = parser.parse_args()
    if arguments.large and arguments.quick:
        parser.error("--large and --quick contradict each other; leave one out")
    try:
        device = _device(arguments.device)
        if device.type == "cpu":
            if arguments.stages:
                parser.error("--stages times a GPU's kernels; leave it out or add --device cuda")
            _time_cpu(arguments)
            return
        if given := [f"--{name}" for name in CPU_ONLY if getattr(arguments, name)]:
            parser.error(f"{', '.join(given)} changes nothing on a GPU; leave it out or add --device cpu")
        sizes = benchmark_cuda.QUICK if arguments.quick else benchmark_cuda.FULL
        sizes = replace(sizes, repeats=arguments.repeats or sizes.repeats)
        (benchmark_cuda.run_stages if arguments.stages else benchmark_cuda.run)(device, sizes, seed=arguments.seed)
    except RasterizerError as error:
        sys.exit(f"error: {error}")


def _device(name: str) -> torch.device:
    """The device to time; raises RasterizerError where CUDA was asked for and cannot run."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    from . import cuda

    reason = cuda.unavailable_reason()
    if reason is None:
        return torch.device("cuda", torch.cuda.current_device())
    if name == "cuda":
        raise RasterizerError(f"--device cuda cannot run here: {reason}; use --device cpu")
    print(f"timing the CPU, because the CUDA back-end cannot run here: {reason}", file=sys.stderr)
    return torch.device("cpu")


def _time_cpu(arguments: argparse.Namespace) -> None:
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    case = benchmark_cpu.SMALL
    if arguments.quick or arguments.large:
        case = benchmark_cpu.QUICK if arguments.quick else benchmark_cpu.LARGE
    oracle = case.oracle and not arguments.no_oracle
    case = replace(case, oracle=oracle, repeats=arguments.repeats or case.repeats)
    benchmark_cpu.run(case, seed=arguments.seed)


def _positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


if __name__ == "__main__":
    main()
