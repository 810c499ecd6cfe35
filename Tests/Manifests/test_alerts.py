"""The alerts, by promtool: they parse, each one fires on its trouble and is silent otherwise, and the runbook knows each."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
RULE = REPOSITORY / "manifests/monitoring/prometheus-rule.yaml"
HERE = Path(__file__).resolve().parent / "alerts"


def alerts() -> dict[str, dict]:
    """The alerts by name."""
    groups = yaml.safe_load(RULE.read_text(encoding="utf-8"))["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


class AlertTests(unittest.TestCase):
    """The rules of manifests/monitoring."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.promtool = subprocess.run(
            [REPOSITORY / "scripts/lib/prometheus-binary", "promtool"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    def promtool_with_rules(self, *arguments: str) -> str:
        """Runs promtool in a folder with rules.yaml and the tests; its output."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rule = yaml.safe_load(RULE.read_text(encoding="utf-8"))
            (folder / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")
            for file in HERE.glob("*.yaml"):
                shutil.copy(file, folder)
            result = subprocess.run(
                [self.promtool, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(result.returncode, 0, result.stdout)
        return result.stdout

    def test_rules_parse(self) -> None:
        self.assertIn(f"{len(alerts())} rules found", self.promtool_with_rules("check", "rules", "rules.yaml"))

    def test_each_alert_fires_on_its_trouble_and_is_silent_without(self) -> None:
        self.assertIn("SUCCESS", self.promtool_with_rules("test", "rules", "rules-test.yaml"))

    def test_each_alert_has_a_test(self) -> None:
        text = (HERE / "rules-test.yaml").read_text(encoding="utf-8")
        for name in alerts():
            self.assertIn(f'{name}', text)

    def test_each_alert_says_how_bad_it_is_and_what_it_means(self) -> None:
        for name, rule in alerts().items():
            with self.subTest(name):
                self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))
                self.assertTrue(rule["annotations"]["summary"] and rule["annotations"]["description"])
                self.assertIn("for", rule)

    def test_the_runbook_has_a_section_for_each_alert_and_no_other(self) -> None:
        text = (REPOSITORY / "docs/runbook.md").read_text(encoding="utf-8")
        self.assertEqual(set(re.findall(r"^## (Swarmscale\w+)$", text, re.MULTILINE)), set(alerts()))

    def test_each_metric_of_the_rules_and_the_dashboard_is_documented(self) -> None:
        documented = set(re.findall(r"`(swarmscale_\w+)`", (REPOSITORY / "docs/metrics.md").read_text(encoding="utf-8")))
        dashboard = (REPOSITORY / "manifests/monitoring/dashboard.json").read_text(encoding="utf-8")
        used = set(re.findall(r"swarmscale_\w+", dashboard + "".join(rule["expr"] for rule in alerts().values())))
        # Histograms are documented by their family.
        used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used} - {"swarmscale_fleet"}
        self.assertEqual(used - documented, set())


if __name__ == "__main__":
    unittest.main()
