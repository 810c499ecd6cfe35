"""What README and docs call by name is there: flags, fields, values of the chart, metrics, environment variables."""

from __future__ import annotations

import os
import re
import subprocess
import unittest
from pathlib import Path
from typing import Any

import yaml
from code_blocks import blocks, pages
from support import REPOSITORY, documents

CONTROLLER = os.environ.get("SWARMSCALE_CONTROLLER", "")

#: Flags of other people's programs that the pages name.
FOREIGN_FLAGS = {
    "--no-cache",  # docker build
    "--reuse-values", "--set", "--take-ownership", "--force-conflicts",  # helm
    "--show-managed-fields", "--target", "--image", "--previous", "--server-side", "--replicas", "--show-labels",  # kubectl
    "--no-parallel", "--filter",  # swift test
}

#: Fields of Kubernetes' own kinds that the pages name by a path.
FOREIGN_FIELDS = {"spec.replicas", "spec.nodeName", "spec.terminationGracePeriodSeconds", "spec.template", "status.replicas", "status.podIP", "status.hostIP"}


def named(pattern: str) -> dict[str, str]:
    """What stands in backticks and matches, with the first page that says it."""
    found: dict[str, str] = {}
    for page in pages():
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for code in re.findall(r"`([^`\n]+)`", text):
            for word in re.findall(pattern, code):
                found.setdefault(word, str(page.relative_to(REPOSITORY)))
    return found


def paths(schema: dict[str, Any], prefix: str) -> set[str]:
    """The dotted paths of a schema's fields, lists passed over."""
    found = {prefix}
    for name, field in schema.get("properties", {}).items():
        found |= paths(field, f"{prefix}.{name}")
    if "items" in schema:
        found |= paths(schema["items"], prefix)
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        found.add(f"{prefix}.*")
    return found


class Names(unittest.TestCase):
    """Each name against the one place that has it."""

    @unittest.skipUnless(CONTROLLER, "needs the programs")
    def test_flags(self) -> None:
        folder = Path(CONTROLLER).resolve().parent
        known = set(FOREIGN_FLAGS)
        commands = [["swarmscale", name] for name in ("local", "controller", "validate", "inject", "replay", "drain")]
        commands += [["swarmscale", "tasks", name] for name in ("submit", "ls", "show", "dead", "retry", "serve")]
        for command in [["swarmscale"], ["swarmscale-controller"], ["swarmscale-sidecar"], ["mock-claude"], *commands]:
            text = subprocess.run([folder / command[0], *command[1:], "--help"], capture_output=True, text=True, check=True).stdout
            known |= set(re.findall(r"--[a-z][a-z-]+", text))
        for script in [*REPOSITORY.glob("scripts/*"), *REPOSITORY.glob("scripts/lib/*"), *REPOSITORY.glob("Tests/*/run"), *REPOSITORY.glob("Tests/*/*.py"), *REPOSITORY.glob("Benchmarks/*")]:
            if script.is_file():
                known |= set(re.findall(r"--[a-z][a-z-]+", script.read_text(errors="replace")))
        flags = named(r"(?<![\w-])--[a-z][a-z-]+")
        self.assertGreater(len(flags), 60)
        self.assertEqual({flag: page for flag, page in flags.items() if flag not in known}, {})

    @unittest.skipUnless(CONTROLLER, "needs the programs")
    def test_subcommands(self) -> None:
        program = Path(CONTROLLER).resolve().parent / "swarmscale"
        text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
        known = set(re.findall(r"^  ([a-z]+) {2,}", text.split("SUBCOMMANDS:")[1], re.MULTILINE)) | {"help"}
        self.assertGreater(len(known), 5)
        found = named(r"^swarmscale ([a-z]+)")
        for block in (block for page in pages() for block in blocks(page) if block.is_shell):
            found |= {word: str(block) for word in re.findall(r"(?:^|[ /(])swarmscale ([a-z]+)", block.text, re.MULTILINE)}
        self.assertEqual({word: page for word, page in found.items() if word not in known}, {})

    def test_fields(self) -> None:
        known = set(FOREIGN_FIELDS)
        for name in ("swarmautoscalers", "apibudgets"):
            (definition,) = documents((REPOSITORY / f"manifests/crd/{name}.yaml").read_text())
            for part in ("spec", "status"):
                known |= paths(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part], part)
        fields = {field.rstrip("."): page for field, page in named(r"^(?:(?:swa|abud)\.)?((?:spec|status)\.[\w.]+)").items()}
        self.assertGreater(len(fields), 20)
        self.assertEqual({field: page for field, page in fields.items() if field not in known and f"{field.rpartition('.')[0]}.*" not in known}, {})

    def test_values_of_the_chart(self) -> None:
        values = yaml.safe_load((REPOSITORY / "Helm/swarmscale/values.yaml").read_text())

        def exists(path: str) -> bool:
            found: Any = values
            for key in path.replace(".*", "").split("."):
                if not isinstance(found, dict) or key not in found:
                    # A group without keys of its own takes any.
                    return found == {}
                found = found[key]
            return True

        groups = "|".join(sorted(set(values) - {"resources"}))
        found = named(rf"^((?:{groups})\.(?!kubernetes\.io)[\w.*]+)")
        self.assertGreater(len(found), 10)
        self.assertEqual({path: page for path, page in found.items() if not exists(path) and not path.endswith((".py", ".md", ".yaml"))}, {})

    def test_metrics(self) -> None:
        files = [*(REPOSITORY / "Sources").rglob("*Metrics*.swift"), REPOSITORY / "Sources/SwarmOrchestrator/FleetSession.swift"]
        sources = "".join(file.read_text() for file in files)
        # Families that share a prefix are declared by what follows it.
        prefixes = [prefix for prefix in ("swarmscale_agents_", "swarmscale_fleet_") if prefix in sources]

        def is_declared(name: str) -> bool:
            return name in sources or any(name.startswith(prefix) and f'"{name[len(prefix):]}"' in sources for prefix in prefixes)

        found = named(r"swarmscale_[a-z0-9_]+[a-z0-9]")
        self.assertGreater(len(found), 30)
        # Families of a histogram have three names, and a star stands for the rest.
        missing = {name: page for name, page in found.items() if not is_declared(re.sub(r"_(bucket|sum|count)$", "", name))}
        self.assertEqual(missing, {})

    def test_environment_variables(self) -> None:
        sources = "".join(file.read_text(errors="replace") for folder in ("Sources", "Tests", "scripts", "examples") for file in (REPOSITORY / folder).rglob("*") if file.is_file() and file.suffix in (".swift", ".py", ".c", "", ".yaml"))
        found = named(r"SWARMSCALE_[A-Z_]+[A-Z]")
        self.assertGreater(len(found), 15)
        self.assertEqual({name: page for name, page in found.items() if name not in sources}, {})
