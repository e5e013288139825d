"""Processor time and memory of processes and of the machine, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cpu", "cpu_of", "machine_busy_s", "memory_of", "parse_machine_stat", "parse_stat", "parse_status"]

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_BUSY = slice(0, 8)
_IDLE = (3, 4)
"""Fields of the line `cpu` in /proc/stat: user nice system idle iowait irq softirq steal."""
_STEAL = 7


@dataclass(frozen=True, slots=True)
class Cpu:
    """Processor time in seconds."""

    user_s: float = 0.0
    system_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Both together."""
        return self.user_s + self.system_s

    def __add__(self, other: Cpu) -> Cpu:
        return Cpu(self.user_s + other.user_s, self.system_s + other.system_s)

    def __sub__(self, other: Cpu) -> Cpu:
        return Cpu(self.user_s - other.user_s, self.system_s - other.system_s)


def parse_stat(text: str) -> Cpu:
    """Return the time that a process has used, all its threads together, from its /proc/PID/stat."""
    fields = text.rsplit(")", 1)[1].split()
    return Cpu(int(fields[11]) * TICK_S, int(fields[12]) * TICK_S)


def parse_status(text: str) -> dict[str, int]:
    """Return the sizes in /proc/PID/status, VmRSS and VmHWM and others, in bytes."""
    sizes = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if len(words) == 2 and words[1] == "kB":
            sizes[name] = int(words[0]) * 1024
    return sizes


def parse_machine_stat(text: str) -> float:
    """Return the seconds in which processors were busy, from the first line of /proc/stat; stolen time is not busy."""
    fields = [int(word) for word in text.splitlines()[0].split()[1:]][_BUSY]
    return TICK_S * sum(ticks for index, ticks in enumerate(fields) if index not in (*_IDLE, _STEAL))


def cpu_of(pids: Iterable[int]) -> Cpu:
    """Return the time that these processes have used so far; OSError if one is gone."""
    return sum((parse_stat(Path(f"/proc/{pid}/stat").read_text()) for pid in pids), Cpu())


def memory_of(pids: Iterable[int], key: str = "VmHWM") -> int:
    """Return the processes' memory in bytes: VmHWM for the peak, VmRSS for now."""
    return sum(parse_status(Path(f"/proc/{pid}/status").read_text())[key] for pid in pids)


def machine_busy_s() -> float:
    """Return how long the machine's processors have been busy, summed over them."""
    return parse_machine_stat(Path("/proc/stat").read_text())
