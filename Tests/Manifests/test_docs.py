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

    def test_reference_of_the_resources_is_generated_from_their_schemas(self) -> None:
        result = subprocess.run([sys.executable, REPOSITORY / "scripts/generate-crd-reference", "--check"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_readme_of_the_chart_is_generated_from_its_values(self) -> None:
        result = subprocess.run([sys.executable, REPOSITORY / "scripts/generate-chart-doc", "--check"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_readme_is_short_and_shows_the_page(self) -> None:
        readme = (REPOSITORY / "README.md").read_text()
        self.assertLessEqual(len(readme.splitlines()), 200)
        self.assertIn("docs/images/page.png", readme)
        for image in (REPOSITORY / "docs/images").glob("*.png"):
            self.assertLessEqual(image.stat().st_size, 200_000, image.name)

    def test_each_page_is_in_the_index(self) -> None:
        index = (REPOSITORY / "docs/README.md").read_text()
        pages = [str(page.relative_to(REPOSITORY / "docs")) for page in (REPOSITORY / "docs").rglob("*.md") if page.name != "README.md"]
        self.assertEqual([page for page in pages if f"({page})" not in index], [])

    def test_each_example_is_named_by_a_page(self) -> None:
        text = "".join(page.read_text() for page in (REPOSITORY / "docs").rglob("*.md"))
        examples = [file.name for file in (REPOSITORY / "examples").glob("*.yaml")]
        self.assertGreater(len(examples), 10)
        self.assertEqual([name for name in examples if f"examples/{name}" not in text], [])

    def test_pictures_say_what_they_show(self) -> None:
        for picture in (REPOSITORY / "docs/images").glob("*.svg"):
            text = picture.read_text()
            for part in ("<title", "<desc", "prefers-color-scheme: dark"):
                self.assertIn(part, text, picture.name)

    def test_links_between_documents_lead_somewhere(self) -> None:
        pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "Tests/Cluster/README.md", REPOSITORY / "Benchmarks/README.md", REPOSITORY / "Helm/swarmscale/README.md"]
        broken = []
        for page in pages:
            for link in re.findall(r"\]\(([^)\s]+)[^)]*\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
                path, _, section = link.partition("#")
                target = page.parent / path if path else page
                if "://" in link:
                    continue
                if not target.exists() or section and target.suffix == ".md" and section not in sections(target.read_text()):
                    broken.append(f"{page.relative_to(REPOSITORY)}: {link}")
        self.assertEqual(broken, [])


def sections(text: str) -> set[str]:
    """The names by which GitHub links to the headings of a page, and those that the page gives itself."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain} | set(re.findall(r'<a id="([^"]+)"', text))
