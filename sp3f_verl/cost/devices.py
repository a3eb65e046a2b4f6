"""What a device can do: from the makers' table (devices.yaml), or measured where it is this machine's CPU."""

import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sp3f_verl.errors import BadInput, nearest

_HERE = Path(__file__).parent
GIB = 2**30


@dataclass(frozen=True)
class Device:
    """peak: FLOP/s of matrix products; memory: bytes; bandwidth: bytes a second of that memory."""

    name: str
    peak: float
    memory: float
    bandwidth: float
    kind: str = "gpu"


@cache
def _table() -> dict[str, list[float]]:
    return yaml.safe_load((_HERE / "devices.yaml").read_text(encoding="utf-8"))


@cache
def assumptions() -> dict[str, Any]:
    return yaml.safe_load((_HERE / "assumptions.yaml").read_text(encoding="utf-8"))


def known_device(name: str) -> Device | None:
    """By a name as the driver gives it (NVIDIA H100 80GB HBM3) or short; None where the table has none like it."""
    fitting = [known for known in _table() if known.lower() in name.lower()]
    if not fitting:
        return None
    best = max(fitting, key=len)
    tera, gib, giga = _table()[best]
    return Device(best, tera * 1e12, gib * GIB, giga * 1e9)


def find_device(name: str, memory_gib: float | None = None) -> Device:
    """The same, with another size of memory where one is given. Raises BadInput."""
    device = known_device(name)
    if device is None:
        raise BadInput(f"--gpu {name} is not in the table{nearest(name, _table())}; it has {', '.join(_table())}.")
    return device if memory_gib is None else replace(device, memory=memory_gib * GIB)


def this_cpu(rows: int, inner: int, columns: int) -> Device:
    """Of one thread, measured in a second: fp32 products of these sizes, and the reading of 256 MB."""
    import psutil
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a, b = torch.randn(rows, inner), torch.randn(inner, columns)
        seconds = _fastest(lambda: a @ b, 0.5)
        block = torch.ones(2**26)  # beyond the caches
        reading = _fastest(block.sum, 0.5)
    finally:
        torch.set_num_threads(threads)
    peak = 2.0 * rows * inner * columns / seconds
    return Device("CPU", peak, float(psutil.virtual_memory().total), 4 * block.numel() / reading, kind="cpu")


def _fastest(work, seconds: float) -> float:
    """CPU seconds of the fastest of the calls that fit into so much time, two at least: the first one warms up.

    CPU time, so that what else runs on the machine does not count.
    """
    end, times = time.perf_counter() + seconds, []
    while time.perf_counter() < end or len(times) < 2:
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)
