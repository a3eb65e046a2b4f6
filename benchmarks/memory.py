"""Memory of this process in MiB, from Linux."""

from pathlib import Path


def resident_mib() -> float:
    return _status("VmRSS")


def peak_mib() -> float:
    """The highest resident memory since the process began."""
    return _status("VmHWM")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))
