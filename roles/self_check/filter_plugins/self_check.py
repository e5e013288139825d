"""Takes what the hosts say out of registered results."""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Mapping
from typing import Any


def self_check_settings(names: list[str], hostvars: Mapping[str, Any]) -> dict[str, str]:
    """By host that runs copy: the text of its copy.toml."""
    contents = {name: hostvars[name].get("__self_check_settings", {}).get("content") for name in names}
    return {name: base64.b64decode(content).decode() for name, content in contents.items() if content}


def self_check_networks(settings: dict[str, str]) -> list[str]:
    """The options of `copytool check intercept` that name all copies' client networks."""
    networks = [str(net) for text in settings.values() for net in tomllib.loads(text)["copy"].get("client_network", [])]
    return ["--client-network", ",".join(dict.fromkeys(networks))] if networks else []


def self_check_documents(names: list[str], hostvars: Mapping[str, Any], key: str) -> dict[str, list[dict[str, Any]]]:
    """By host: what its `copytool check --json` runs printed; {"error": …} of one that printed something else."""
    documents = {}
    for name in names:
        result = hostvars[name].get(key, {})
        documents[name] = [_document(one) for one in result.get("results", [result])]
    return documents


def _document(result: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(result["stdout"]))
    except (KeyError, ValueError):
        lines = (result.get("stderr") or result.get("msg") or "no answer").strip().splitlines()
        return {"error": lines[-1], "checks": []}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        """The filters that this file brings."""
        return {
            "self_check_documents": self_check_documents,
            "self_check_networks": self_check_networks,
            "self_check_settings": self_check_settings,
        }
