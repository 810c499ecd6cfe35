"""Tables in docs/ against the sources that they describe."""

from __future__ import annotations

import re
import subprocess
import sys
import unittest

from support import REPOSITORY

OPERATION = (REPOSITORY / "docs/operation.md").read_text()
SOURCES = REPOSITORY / "Sources"


class Documents(unittest.TestCase):
    """What users read is what the program does."""

    def test_metrics_page_is_generated_from_the_source(self) -> None:
        result = subprocess.run([sys.executable, REPOSITORY / "scripts/generate-metrics-doc", "--check"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_each_flag_is_documented_with_its_default(self) -> None:
        source = (SOURCES / "ControllerCommand/ControllerOptions.swift").read_text()
        declared = re.findall(r"package var (\w+)(?::[^=\n]+)?(?: = (.+))?", source.split("/// Makes the options")[0])
        flags = {"--" + re.sub("([A-Z])", lambda match: "-" + match[1].lower(), name): default for name, default in declared}
        rows = dict(re.findall(r"^\| `(--[a-z-]+)`[^|]*\| ([^|]*?) ?\|", OPERATION, re.MULTILINE))
        self.assertEqual(set(rows), set(flags))
        for flag, default in flags.items():
            if match := re.fullmatch(r"DurationArgument\(\.seconds\((\d+)\)\)", default):
                seconds = int(match[1])
                text = f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"
                self.assertEqual(rows[flag], f"`{text}`", flag)
            elif match := re.fullmatch(r'"([^"]*)"|(\d+)', default):
                self.assertEqual(rows[flag], f"`{match[1] or match[2]}`", flag)

    def test_each_reason_of_a_condition_is_documented(self) -> None:
        conditions = (SOURCES / "ScalingDecision/Plan+Conditions.swift").read_text()
        reasons = set(re.findall(r'"((?:[A-Z][a-z]+|API){2,}[A-Za-z]*|Paused|Draining)"', conditions))
        for file in sorted((SOURCES / "ScalingController").rglob("*.swift")):
            reasons |= set(re.findall(r'Trouble\(\s*\.\w+, "([A-Z]\w+)"', file.read_text()))
        reasons |= {"NoScaleSubresource", "SpecAccepted", "SpecHasWarnings"}
        self.assertGreater(len(reasons), 40)
        self.assertEqual([reason for reason in sorted(reasons) if f"`{reason}`" not in OPERATION], [])

    def test_each_binding_step_is_documented(self) -> None:
        source = (SOURCES / "ScalingDecision/Plan.swift").read_text()
        steps = re.findall(r"^  case (\w+)$", source.split("enum BindingStep")[1].split("\n}")[0], re.MULTILINE)
        self.assertGreater(len(steps), 10)
        self.assertEqual([step for step in steps if f"`{step}`" not in OPERATION], [])

    def test_each_target_of_the_package_is_documented(self) -> None:
        manifest = (REPOSITORY / "Package.swift").read_text()
        targets = re.findall(r"\.(?:target|executableTarget|systemLibrary)\(\s*name: \"([\w-]+)\"", manifest)
        page = (REPOSITORY / "docs/development.md").read_text()
        self.assertEqual([name for name in targets if name != "TestSupport" and f"`{name}`" not in page], [])

    def test_links_between_documents_lead_somewhere(self) -> None:
        pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "Tests/Cluster/README.md"]
        broken = []
        for page in pages:
            for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
                if "://" not in link and not (page.parent / link).exists():
                    broken.append(f"{page.relative_to(REPOSITORY)}: {link}")
        self.assertEqual(broken, [])
