"""Every code block of README and docs is run or checked, or says why not (code_blocks.py tells how blocks are marked)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml
from code_blocks import OUTPUT, SHELL, Block, blocks, blocks_of, pages
from support import REPOSITORY, Cluster, documents, kustomize, needs_cluster

CONTROLLER = os.environ.get("SWARMSCALE_CONTROLLER", "")

#: Blocks of pages that are edited elsewhere at the moment, by page and first line, with the reason for not running them.
UNMARKED = {
    ("docs/local-mode.md", "swift build --product swarmscale && swift build --product swarmscale-sidecar"): "builds; Tests/LocalMode/run runs the same",
    ("docs/page.md", "kubectl -n swarmscale-system port-forward deployment/swarmscale-controller 8080   # then open http://127.0.0.1:8080/"): "goes on until Ctrl-C",
    ("docs/page.md", "scripts/generate-page-assets && swift run StatusPagePreview --port 8081           # invented fleets, real decisions"): "builds",
    (
        "docs/task-queue.md",
        "curl -s -H 'content-type: application/json' -d '{\"queue\":\"reviewers\"}' 'http://127.0.0.1:8787/v1/tasks/next?wait=20'",
    ): "needs a worker's sidecar with a queue; SidecarServerTests and Tests/LocalMode/run ask the same",
}


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks(page)]


def is_excused(block: Block) -> bool:
    return (block.page, block.text.splitlines()[0] if block.text.strip() else "") in UNMARKED


class Markers(unittest.TestCase):
    """What needs no cluster."""

    def test_each_block_says_what_it_is(self) -> None:
        found = all_blocks()
        self.assertGreater(len(found), 30)
        known = SHELL | OUTPUT | {"yaml", "swift"}
        self.assertEqual([f"{block}: language {block.language}" for block in found if block.language not in known], [])

    def test_each_shell_block_is_run_or_says_why_not(self) -> None:
        silent = [str(block) for block in all_blocks() if block.is_shell and not block.marker and not is_excused(block)]
        self.assertEqual(silent, [])

    def test_only_shell_blocks_are_marked_to_be_run(self) -> None:
        self.assertEqual([str(block) for block in all_blocks() if block.marker == "run" and not block.is_shell], [])

    def test_the_table_of_excuses_is_up_to_date(self) -> None:
        found = {(block.page, block.text.splitlines()[0]) for block in all_blocks() if block.text.strip() and block.is_shell and not block.marker}
        self.assertEqual(set(UNMARKED) - found, set())

    def test_shell_blocks_have_a_shells_syntax(self) -> None:
        for block in all_blocks():
            if block.is_shell:
                with self.subTest(block=str(block)):
                    result = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
                    self.assertEqual(result.returncode, 0, result.stderr)

    def test_files_that_blocks_name_are_there(self) -> None:
        missing = []
        for block in all_blocks():
            if block.is_shell:
                for path in re.findall(r"(?<![\w./-])((?:examples|manifests|Helm|scripts|docs|Tests|Benchmarks)/[\w./-]*\w)", block.text):
                    if not (REPOSITORY / path).exists():
                        missing.append(f"{block}: {path}")
        self.assertEqual(missing, [])

    def test_swift_blocks_can_be_parsed(self) -> None:
        if not shutil.which("swiftc"):
            self.skipTest("needs swiftc")
        for block in all_blocks():
            if block.language == "swift":
                with self.subTest(block=str(block)):
                    result = subprocess.run(["swiftc", "-frontend", "-parse", "-"], input=block.text, capture_output=True, text=True)
                    self.assertEqual(result.returncode, 0, result.stderr)

    def test_a_command_without_a_marker_is_found(self) -> None:
        for text in ("```sh\nls\n```\n", "```\nkubectl get swa\n```\n", "x\n\n```text\n$ ls\n```\n"):
            (block,) = blocks_of(text, "page")
            self.assertTrue(block.is_shell and not block.marker, text)
        (block,) = blocks_of("<!-- not run: it costs money -->\n```sh\nls\n```\n", "page")
        self.assertEqual((block.marker, block.reason), ("not run", "it costs money"))
        for broken in ("```sh\nls\n", "<!-- run -->\n\ntext\n"):
            with self.assertRaises(AssertionError):
                blocks_of(broken, "page")


@needs_cluster
@unittest.skipUnless(CONTROLLER, "set SWARMSCALE_CONTROLLER to the path of a swarmscale-controller, with the other programs beside it")
class RunBlocks(unittest.TestCase):
    """The shell blocks of each page on a control plane, beside a controller that scales; each page in a namespace of its own.

    What stands in for a user's machine: `kubectl` is the real one, only that objects are fitted to an older server; `helm` is Helm's own code behind
    the command line's arguments (tools/helm). Pods run on the test node: they are Running and Ready, and their containers aren't started.
    """

    folder: tempfile.TemporaryDirectory[str]
    controller: subprocess.Popen[bytes]
    cluster: Cluster

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = Cluster()
        cls.folder = tempfile.TemporaryDirectory()
        crds = [item for file in sorted((REPOSITORY / "manifests/crd").glob("*s.yaml")) for item in documents(file.read_text())]
        cls.cluster.install([item for item in crds if item["kind"] == "CustomResourceDefinition"])
        cls.cluster.adopt_definitions("swarmscale", "swarmscale-system")
        cls.cluster.remove(kustomize("manifests/default"))
        flags = [f"--decision-log={cls.folder.name}/decisions.jsonl", "--no-leader-election", "--listen=127.0.0.1:0", "--sync-period=3s", "--cpu-initialization-period=0s", "--initial-readiness-delay=0s"]
        with open(f"{cls.folder.name}/controller.log", "wb") as log:
            cls.controller = subprocess.Popen(
                [CONTROLLER, "--kubeconfig", cls.cluster.state["kubeconfig"], "--coordinator-listen=127.0.0.1:0", "--coordinator-authentication=None", *flags], stderr=log
            )

    @classmethod
    def tearDownClass(cls) -> None:
        cls.controller.terminate()
        cls.controller.wait()
        cls.folder.cleanup()

    def test_blocks_that_are_marked(self) -> None:
        ran = 0
        # The page about the decision log last: by then there are decisions.
        # SWARMSCALE_PAGES chooses some, for Tests/Install/fresh-machine.
        chosen = os.environ.get("SWARMSCALE_PAGES", "").split()
        for page in sorted((page for page in pages() if not chosen or page.stem in chosen), key=lambda page: (page.stem == "decision-log", page)):
            steps = [block for block in blocks(page) if block.marker == "run"]
            if steps:
                with self.subTest(page=str(page.relative_to(REPOSITORY))):
                    self.play(page.stem, steps)
                    ran += len(steps)
        self.assertGreater(ran, 0 if chosen else 10)

    def test_a_block_that_fails_is_found(self) -> None:
        for text in ("false\n", "kubectl get swa nobody\n", "true | false\n", 'test "$(kubectl get swa -o name | wc -l)" = 1\n'):
            with self.subTest(text=text), self.assertRaises(AssertionError):
                self.play(f"broken-{abs(hash(text))}", [Block("page", 1, "sh", text, "run", ""), Block("page", 9, "sh", "true\n", "run", "")])

    def play(self, name: str, steps: list[Block]) -> None:
        """Runs a page's blocks in one shell, in a folder where the repository's files can be read; the first that fails ends it."""
        namespace = f"page-{name.lower()}"
        self.cluster.send("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        folder = Path(self.folder.name) / name
        folder.mkdir()
        for entry in ("examples", "manifests", "Helm", "scripts", "docs"):
            (folder / entry).symlink_to(REPOSITORY / entry)
        (folder / "decisions.jsonl").symlink_to(Path(self.folder.name) / "decisions.jsonl")
        script = "set -euo pipefail\n" + "".join(f": {block}\n{block.text}" for block in steps)
        kubeconfig = yaml.safe_load(Path(self.cluster.state["kubeconfig"]).read_text())
        for context in kubeconfig["contexts"]:
            context["context"]["namespace"] = namespace
        (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
        environment = {
            **os.environ,
            "PATH": f"{Path(__file__).parent / 'tools'}:{Path(CONTROLLER).resolve().parent}:{os.environ['PATH']}",
            "KUBECONFIG": str(folder / "kubeconfig"),
            "PYTHON": sys.executable,
            "REAL_KUBECTL": shutil.which("kubectl") or "kubectl",
        }
        with open(folder / "output", "wb") as output:
            # A session of its own: what a page starts in the background ends with it.
            process = subprocess.Popen(["bash", "-xc", script], cwd=folder, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True)
            status = process.wait()
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        # The next page begins on a cluster where nothing is installed; where this one has tidied up itself there is nothing to do.
        subprocess.run(["helm", "uninstall", "swarmscale", "--namespace", "swarmscale-system"], env=environment, capture_output=True)
        text = (folder / "output").read_text(errors="replace")
        log = Path(self.folder.name, "controller.log").read_text(errors="replace")
        self.assertEqual(status, 0, f"{text[-4000:]}\n--- controller ---\n{log[-2000:]}")
