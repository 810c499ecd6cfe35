"""Every query of the Grafana dashboard, and every alert's expression, run by a real Prometheus that scrapes a controller at work."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]

#: Panels that are rightly empty where nothing is wrong and nobody else uses the organisation.
MAY_BE_EMPTY = re.compile(r"condition.*== 1|rate\(swarmscale_scale_writes_total|foreign")


class Prometheus:
    """A Prometheus that scrapes one address every second."""

    def __init__(self, program: str, folder: Path, target: str, port: int) -> None:
        folder.mkdir()
        (folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: swarmscale, static_configs: [{{targets: ['{target}']}}]}}]\n",
            encoding="utf-8")
        self.url = f"http://127.0.0.1:{port}"
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                 f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def wait(self, expression: str, seconds: float) -> None:
        """Waits until a query has a result."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self.query(expression):
                    return
            except (OSError, urllib.error.URLError):
                pass
            time.sleep(0.5)
        raise AssertionError(f"{expression} has no result within {seconds:.0f} s")

    def end(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait(30)


def queries() -> list[tuple[str, str]]:
    """Title and expression of each query of the dashboard, with everything chosen."""
    dashboard = json.loads((REPOSITORY / "manifests/monitoring/dashboard.json").read_text(encoding="utf-8"))
    return [
        (panel["title"], re.sub(r"\$(namespace|fleet|budget)", ".*", target["expr"]))
        for panel in dashboard["panels"] for target in panel.get("targets", [])
    ]


def check(prometheus: Prometheus) -> str:
    """Runs each query; what was found, in words. Raises AssertionError when one fails or is empty though it may not be."""
    prometheus.wait("rate(swarmscale_reconciles_total[5m])", 60)
    empty = []
    for title, expression in queries():
        try:
            if not prometheus.query(expression) and not MAY_BE_EMPTY.search(expression):
                empty.append(f"{title}: {expression}")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{title}: {expression}: {error.read().decode()}") from error
    if empty:
        raise AssertionError("no data:\n" + "\n".join(empty))
    return f"{len(queries())} queries of the dashboard have data"
