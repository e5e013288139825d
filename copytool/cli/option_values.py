"""Options given as flags or in a configuration file, and their values."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .option import Option

__all__ = ["add_option", "read_options"]


def add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    """Add the option to a command."""
    flags = [f"-{option.short}"] if option.short else []
    flags.append(f"--{option.long}")
    if option.parse is None:
        parser.add_argument(*flags, dest=option.key, action="store_true", default=None, help=option.help)
        return
    shown = option.help
    if option.default is not None:
        text = option.default[0][0] if isinstance(option.default, list) else option.default
        if isinstance(text, tuple):
            text = ":".join(map(str, text))
        shown += f" (default {text:g})" if isinstance(text, float) else f" (default {text})"
    action = "append" if option.is_list else "store"
    help_text = shown.replace("%", "%%")
    parser.add_argument(*flags, dest=option.key, metavar=option.metavar, action=action, help=help_text)


def read_options(
    namespace: dict[str, Any], options: tuple[Option, ...], config: str | None, table: str
) -> dict[str, Any]:
    """Return every option's parsed value: from argparse's `namespace`, else from a table of the file `config`, else the
    default, None where there is none. Raises ConfigError naming flag and value."""
    parsed = {option.key: option.default for option in options}
    if config is not None:
        parsed |= _read_config(Path(config), table, options)
    for option in options:
        given = namespace[option.key]
        if given is not None:
            parsed[option.key] = _parse(option, option.label, given)
    return parsed


def _read_config(path: Path, command: str, options: tuple[Option, ...]) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"-C (--config) {str(path)!r}: {error.strerror}") from None
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise ConfigError(f"-C (--config) {str(path)!r}: not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"-C (--config) {str(path)!r}: not TOML that makes sense here: too deeply nested") from None
    table = document.get(command)
    if not isinstance(table, dict):
        raise ConfigError(f"-C (--config) {str(path)!r}: it has no table [{command}]")
    by_key = {option.key: option for option in options}
    parsed = {}
    for key, value in table.items():
        if key not in by_key:
            raise ConfigError(f"{path}: [{command}] has the unknown key {key!r}; known: {', '.join(sorted(by_key))}")
        label = f"{path}: [{command}] {key}"
        parsed[key] = _parse(by_key[key], label, _from_toml(value, label))
    return parsed


def _from_toml(value: object, label: str) -> object:
    try:
        if isinstance(value, list):
            return [str(item) for item in value]
        return value if isinstance(value, bool) else str(value)
    except ValueError:  # Python writes no integers of thousands of digits (sys.set_int_max_str_digits)
        raise ConfigError(f"{label}: the number is too long") from None


def _parse(option: Option, label: str, given: object) -> Any:
    if option.parse is None:
        if not isinstance(given, bool):
            raise ConfigError(f"{label}: {given!r} is not true or false")
        return given
    if isinstance(given, list) and option.is_list:
        given = ",".join(given)
    if not isinstance(given, str):
        raise ConfigError(f"{label}: {given!r} has the wrong type")
    try:
        return option.parse(given)
    except ConfigError as error:
        raise ConfigError(f"{label}: {error}") from None
