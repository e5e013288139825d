"""What was executed, run by run, in a file of one JSON object a line; and the sums as a table."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path

__all__ = ["add", "table"]


def add(work: Path, target: str, driver: str, flavour: str, executions: int, seconds: float, found: bool) -> None:
    """Note a run."""
    work.mkdir(parents=True, exist_ok=True)
    line = {
        "at": time.strftime("%Y-%m-%d %H:%M:%S"), "target": target, "driver": driver, "flavour": flavour,
        "executions": executions, "seconds": round(seconds, 1), "found": found,
    }  # fmt: skip
    with (work / "tally.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def table(work: Path) -> str:
    """Return the sums of all runs as a Markdown table."""
    sums: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0, 0.0, 0])
    path = work / "tally.jsonl"
    for text in path.read_text().splitlines() if path.exists() else []:
        line = json.loads(text)
        entry = sums[line["target"], line["driver"], line["flavour"]]
        entry[0] += line["executions"]
        entry[1] += line["seconds"]
        entry[2] += line["found"]
    rows = ["| target | driver | flavour | executions | seconds | stops at a find |", "|---|---|---|---:|---:|---:|"]
    for (target, driver, flavour), (executions, seconds, found) in sorted(sums.items()):
        rows.append(f"| {target} | {driver} | {flavour} | {executions:,} | {seconds:,.0f} | {found} |")
    total = [sum(entry[index] for entry in sums.values()) for index in range(3)]
    rows.append(f"| all | | | {total[0]:,} | {total[1]:,.0f} | {total[2]} |")
    return "\n".join(rows)
