"""Prometheus' HTTP API, asked on the host that it runs on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from testinfra.host import Host

__all__ = ["Prometheus"]

_ASK = """
import json, sys, urllib.error, urllib.request
answers = []
for path in sys.argv[1:]:
    try:
        with urllib.request.urlopen("http://127.0.0.1:9090/api/v1/" + path, timeout=10) as answer:
            answers.append(json.load(answer))
    except urllib.error.HTTPError as error:
        answers.append(json.load(error))
print(json.dumps(answers))
"""

Series = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """The Prometheus of a lab."""

    host: Host = field(repr=False)

    def query(self, *expressions: str) -> list[list[Series]]:
        """What there is now of each expression: series, each with its labels and value."""
        paths = ["query?" + urlencode({"query": expression}) for expression in expressions]
        answers = self._ask(*paths)
        for expression, answer in zip(expressions, answers, strict=True):
            assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        return [answer["data"]["result"] for answer in answers]

    def values(self, expression: str, *labels: str) -> dict[tuple[str, ...], float]:
        """What there is now of an expression, by some of its labels."""
        (result,) = self.query(expression)
        return {tuple(series["metric"][label] for label in labels): float(series["value"][1]) for series in result}

    def rules(self) -> list[dict[str, Any]]:
        """The rules that are loaded, with their state and health."""
        (answer,) = self._ask("rules")
        return [rule for group in answer["data"]["groups"] for rule in group["rules"]]

    def alerts(self) -> dict[str, str]:
        """The state of each rule that is not inactive: pending or firing."""
        return {rule["name"]: rule["state"] for rule in self.rules() if rule["state"] != "inactive"}

    def _ask(self, *paths: str) -> list[Any]:
        command = "python3 -c %s" + " %s" * len(paths)
        answers: list[Any] = json.loads(self.host.check_output(command, _ASK, *paths))
        return answers
