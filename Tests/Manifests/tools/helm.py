"""The helm commands that the documents use, by Helm's own code (PyPI helm-python-sdk)."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import helm_python as helm
import yaml


def values(arguments: argparse.Namespace) -> dict[str, Any]:
    """The values of -f and --set, as helm merges them."""
    merged: dict[str, Any] = {}
    for file in arguments.values:
        with open(file, encoding="utf-8") as stream:
            merge(merged, yaml.safe_load(stream) or {})
    for item in ",".join(arguments.set).split(","):
        if item:
            path, _, text = item.partition("=")
            for key in reversed(path.split(".")):
                text = {key: text if isinstance(text, dict) else yaml.safe_load(text)}  # type: ignore[assignment]
            merge(merged, text)  # type: ignore[arg-type]
    return merged


def merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    """Lays one set of values over another."""
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def main() -> int:
    parser = argparse.ArgumentParser(prog="helm")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("install", "upgrade", "template", "uninstall"):
        command = commands.add_parser(name)
        command.add_argument("name")
        if name != "uninstall":
            command.add_argument("chart")
        command.add_argument("-n", "--namespace", default="default")
        command.add_argument("-f", "--values", action="append", default=[])
        command.add_argument("--set", action="append", default=[])
        command.add_argument("--create-namespace", action="store_true")
        command.add_argument("--wait", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "template":
        with helm.Chart.load(arguments.chart) as chart:
            files = chart.render(values(arguments), name=arguments.name, namespace=arguments.namespace)
        print("\n---\n".join(files[file] for file in sorted(files) if file.endswith(".yaml") and files[file].strip()))
        return 0
    options: dict[str, Any] = {"wait": "watcher", "timeout": 120} if arguments.wait else {}
    with helm.Config(kubeconfig_path=os.environ["KUBECONFIG"], namespace=arguments.namespace) as config:
        if arguments.command == "install":
            config.install(arguments.chart, arguments.name, values(arguments), namespace=arguments.namespace, create_namespace=arguments.create_namespace, **options)
        elif arguments.command == "upgrade":
            config.upgrade(arguments.chart, arguments.name, values(arguments), namespace=arguments.namespace, **options)
        else:
            config.uninstall(arguments.name, **options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
