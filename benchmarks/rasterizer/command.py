"""The command of the benchmark: arguments, the device, and the table for it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import torch
from moegs_rasterizer.types import RasterizerError

from benchmarks.rasterizer import cpu_table, cuda_table
from benchmarks.rasterizer.call_table import print_call_table

CPU_ONLY = ("large", "threads", "no_oracle")


def main() -> None:
    """Print the GPU's table where the CUDA back-end runs, else the CPU's; medians with their range, milliseconds."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.large and arguments.quick:
        parser.error("--large and --quick contradict each other; leave one out")
    if arguments.stages and arguments.calls:
        parser.error("--stages and --calls each print one table and nothing else; leave one out")
    try:
        device = _device(arguments.device)
        if device.type == "cpu":
            for flag in ("stages", "calls"):
                if getattr(arguments, flag):
                    parser.error(f"--{flag} times a GPU; leave it out or add --device cuda")
            _time_cpu(arguments)
            return
        if given := [f"--{name}" for name in CPU_ONLY if getattr(arguments, name)]:
            parser.error(f"{', '.join(given)} changes nothing on a GPU; leave it out or add --device cpu")
        _time_gpu(arguments, device)
    except RasterizerError as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rasterizer",
        description=main.__doc__,
        epilog="examples:\n  python -m benchmarks.rasterizer\n  python -m benchmarks.rasterizer --device cpu --quick",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    device_help = "device to time; auto: the GPU if its back-end runs, else the CPU (default: auto)"
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help=device_help)
    parser.add_argument("--quick", action="store_true", help="smoke test with small scenes and few runs")
    parser.add_argument("--repeats", type=_positive, help="timed runs per entry; default: 60 (GPU), 50 (CPU)")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the scenes (default: 0)")
    parser.add_argument("--stages", action="store_true", help="GPU only: print the stages of a pass and nothing else")
    calls_help = "GPU only: print what single calls take beside their kernels and nothing else"
    parser.add_argument("--calls", action="store_true", help=calls_help)
    cpu = parser.add_argument_group("CPU only")
    large = cpu_table.LARGE_CASE
    cpu.add_argument(
        "--large", action="store_true", help=f"time {large.count} Gaussians at {large.width}x{large.height} px"
    )
    cpu.add_argument("--threads", type=_positive, help="number of PyTorch threads; default: PyTorch's")
    cpu.add_argument("--no_oracle", action="store_true", help="do not time the PyTorch back-end")
    return parser


def _device(name: str) -> torch.device:
    """The device to time; raises RasterizerError where CUDA was asked for and cannot run."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    from moegs_rasterizer import cuda

    reason = cuda.unavailable_reason()
    if reason is None:
        return torch.device("cuda", torch.cuda.current_device())
    if name == "cuda":
        raise RasterizerError(f"--device cuda cannot run here: {reason}; use --device cpu")
    print(f"CUDA back-end not available, timing the CPU: {reason}", file=sys.stderr)
    return torch.device("cpu")


def _time_cpu(arguments: argparse.Namespace) -> None:
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    case = cpu_table.SMALL_CASE
    if arguments.quick or arguments.large:
        case = cpu_table.QUICK_CASE if arguments.quick else cpu_table.LARGE_CASE
    oracle = case.oracle and not arguments.no_oracle
    case = replace(case, oracle=oracle, repeats=arguments.repeats or case.repeats)
    cpu_table.print_cpu_table(case, seed=arguments.seed)


def _time_gpu(arguments: argparse.Namespace, device: torch.device) -> None:
    sizes = cuda_table.QUICK_SIZES if arguments.quick else cuda_table.FULL_SIZES
    sizes = replace(sizes, repeats=arguments.repeats or sizes.repeats)
    if arguments.calls:
        print_call_table(device, counts=sizes.counts, size=sizes.size, repeats=sizes.repeats)
        return
    print_table = cuda_table.print_gpu_stages if arguments.stages else cuda_table.print_gpu_table
    print_table(device, sizes, seed=arguments.seed)


def _positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value
