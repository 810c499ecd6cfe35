#!/usr/bin/env python3
"""Installed as users install it, on a full node: by Helm's own code and by kustomize, with a fleet at work all the while.

Started by Tests/Install/run, which starts and ends the cluster. The controller's pods are real containers, with the rights that were
installed and no others; webhook, worker streams and page are reached through their Services. Ends with the line `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Cluster"))

import e2e_fleet  # noqa: E402
import e2e_node  # noqa: E402
import helm_python as helm  # noqa: E402
from e2e_fleet import NAMESPACE, FleetTests  # noqa: E402
from e2e_node import SYSTEM, Cluster, say  # noqa: E402
from selftest import ROOT, main  # noqa: E402

CHART = ROOT / "Helm/swarmscale"
PREVIOUS = ROOT / "Tests/Manifests/charts/swarmscale-0.1.0.tgz"
RELEASE = "swarmscale"
CHANGED = {"commonLabels": {"team": "platform"}, "controller": {"syncPeriod": "5s"}, "bridges": {"keda": {"enabled": True}}}
"""Other values than those of before: the pods are replaced."""

SHORT_LIVED = {"events", "pods", "endpoints", "endpointslices", "leases/kube-system", "controllerrevisions", "nodes"}
"""What the cluster itself makes and removes at any time."""


def objects() -> set[str]:
    """Everything that is there outside of the fleet's namespace, as `resource/namespace/name`."""
    connection = e2e_node.cluster.connection
    groups = [group["preferredVersion"]["groupVersion"] for group in connection.json("GET", "/apis")["groups"]]
    found = set()
    for path in ("/api/v1", *(f"/apis/{group}" for group in groups if ".metrics.k8s.io/" not in f".{group}")):
        for resource in connection.json("GET", path)["resources"]:
            if "list" not in resource["verbs"] or "/" in resource["name"] or resource["name"] in SHORT_LIVED:
                continue
            for item in connection.json("GET", f"{path}/{resource['name']}")["items"]:
                namespace, name = item["metadata"].get("namespace", ""), item["metadata"]["name"]
                if NAMESPACE not in (namespace, name):
                    # Tokens of service accounts have names by chance.
                    found.add(f"{resource['name']}/{namespace}/{re.sub(r'-token-[a-z0-9]{5}$', '-token', name)}")
    return found


class InstalledTests(FleetTests):
    """What both ways have in common."""

    before: ClassVar[set[str]]

    @classmethod
    def install(cls) -> None:
        cls.before = objects()
        cls.put_in()

    @classmethod
    def put_in(cls) -> None:
        """Installs the controller this way."""
        raise NotImplementedError

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        # Workers would finish their work first; there is none any more.
        e2e_node.cluster.kubectl("-n", NAMESPACE, "delete", "deployments", "--all")
        e2e_node.cluster.kubectl("-n", NAMESPACE, "delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false")
        e2e_node.cluster.kubectl("delete", "namespace", NAMESPACE, "--wait", "--timeout=50s")

    def address(self, service: str) -> str:
        """The cluster's address of a Service."""
        found = json.loads(e2e_node.cluster.kubectl("-n", SYSTEM, "get", "service", service, "-o", "json"))
        return str(found["spec"]["clusterIP"])

    def check_services(self) -> None:
        """The page, its data and the metrics; and the API server's way to the webhook, which refuses what can't be used."""
        base = f"http://{self.address('swarmscale-controller')}:8080"
        for path, content in (("/", "<html"), ("/metrics", "swarmscale_leader"), ("/readyz", "")):
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(base + path, timeout=10) as answer:
                self.assertEqual(answer.status, 200, path)
                self.assertIn(content, answer.read().decode(), path)
        broken = json.loads(json.dumps(e2e_fleet.AUTOSCALER))
        broken["spec"].update(minReplicas=9, maxReplicas=8)
        with self.assertRaisesRegex(AssertionError, "specs.swarmscale.dev"):
            e2e_node.cluster.kubectl("apply", "--dry-run=server", "-f", "-", content=broken)

    def check_rights(self) -> None:
        """No request of any replica was refused."""
        log = self.log()
        self.assertNotRegex(log.lower(), r"forbidden|unauthorized|\b403\b|\b401\b")
        self.assertNotRegex(log, r"(?m)^.*level=(error|critical)")

    def check_rollout(self, *flags: str) -> None:
        """Both replicas run with these flags, and one of them leads."""
        e2e_node.cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/swarmscale-controller", "--timeout=50s")
        ready = self.wait("two ready controllers", lambda: found if len(found := self.controllers()) == 2 else None)
        names = {pod["metadata"]["name"] for pod in ready}
        for pod in self.controllers():
            self.assertLessEqual(set(flags), set(pod["spec"]["containers"][0]["args"]))
            self.assertIn(e2e_fleet.IMAGE, pod["status"]["containerStatuses"][0]["image"])
        self.wait("a leader among them", lambda: self.leader() in names, 60)

    def check_workers(self) -> None:
        """The coordinator knows every worker that stands: each has found the Service again."""
        def known() -> bool:
            return sum(self.metric(pod, 8080, "swarmscale_coordinator_workers") for pod in self.controllers()) == len(self.standing())

        self.wait("the coordinator to know all workers", known, 60)


    def test_3_a_shrink_waits_for_work_and_kills_none_while_the_leader_changes(self) -> None:
        """The shrink alone: the leader changes with each rollout here, and what `swarmscale drain` says is e2e_fleet's matter."""
        self.wait("everybody at work", lambda: len(self.queue.workers_at_work()) == e2e_fleet.MANY, 60)
        self.demand(e2e_fleet.FEW)
        gone = e2e_fleet.MANY - e2e_fleet.FEW
        self.wait("a smaller fleet", lambda: self.replicas() == e2e_fleet.FEW and len(self.witness.removed()) == gone, 2 * e2e_node.WAIT_SECONDS)
        self.check_that_nobody_was_removed_at_work()


class ByHelmTests(InstalledTests):
    """The previous chart, an upgrade with other values, back, and away; tasks go on throughout."""

    config: ClassVar[helm.Config]
    flags: ClassVar[list[str]] = []

    @classmethod
    def put_in(cls) -> None:
        say("installing the previous chart")
        cls.config = helm.Config(kubeconfig_path=str(e2e_node.cluster.plane.state["kubeconfig"]), namespace=SYSTEM)
        cls.config.install(PREVIOUS, RELEASE, {"controller": {"syncPeriod": "10s"}}, namespace=SYSTEM, create_namespace=True, wait="watcher", timeout=120)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.config.close()
        super().tearDownClass()

    def test_2b_an_upgrade_with_other_values(self) -> None:
        self.wait("everybody at work", lambda: len(self.queue.workers_at_work()) == e2e_fleet.MANY, 60)
        # The commands of docs/upgrade.md, but for helm's.
        page = (ROOT / "docs/upgrade.md").read_text(encoding="utf-8")
        block = re.search(r"### From chart 0\.1\.0.*?```sh\n(.*?)```", page, re.DOTALL)
        assert block
        commands = [line for line in block[1].splitlines() if not line.startswith("helm ")]
        self.assertEqual(len(commands), 3)
        kubectl = Path(e2e_node.cluster.plane.state["node"]["kubernetes"])
        environment = {"HOME": str(e2e_node.cluster.logs), "PATH": f"{kubectl}:/usr/bin:/bin", "KUBECONFIG": str(e2e_node.cluster.plane.state["kubeconfig"])}
        subprocess.run(["bash", "-euc", "\n".join(commands)], check=True, env=environment, stdout=subprocess.DEVNULL)
        self.config.upgrade(CHART, RELEASE, CHANGED, namespace=SYSTEM, wait="watcher", timeout=120)
        self.check_rollout("--sync-period=5s", "--keda-listen=0.0.0.0:9445")
        self.check_workers()

    def test_6_services_are_reached_and_nothing_was_forbidden(self) -> None:
        self.check_services()
        self.check_rights()
        # KEDA's scaler leads to the leader, whose pod the leader has labelled.
        endpoints = json.loads(e2e_node.cluster.kubectl("-n", SYSTEM, "get", "endpoints", "swarmscale-bridges", "-o", "json"))
        addresses = [address["targetRef"]["name"] for subset in endpoints.get("subsets", ()) for address in subset.get("addresses", ())]
        self.assertEqual(addresses, [self.leader()])

    def test_7_a_rollback(self) -> None:
        self.config.rollback(RELEASE, version=1, wait="watcher", timeout=120)
        self.check_rollout("--sync-period=10s")
        self.check_workers()
        self.check_services()
        self.demand(e2e_fleet.FEW + 1)
        self.wait("growth under the chart of before", lambda: self.replicas() == e2e_fleet.FEW + 1, 60)
        self.check_rights()
        self.test_5_all_requests_have_succeeded_and_no_task_was_lost()

    def test_8_an_uninstall_leaves_what_the_notes_say(self) -> None:
        self.config.upgrade(CHART, RELEASE, CHANGED, namespace=SYSTEM, wait="watcher", timeout=120)
        self.check_rollout("--sync-period=5s")
        notes = self.config.get_all(RELEASE)["info"]["notes"]
        self.config.uninstall(RELEASE, wait="watcher", timeout=120)
        self.wait("the controllers' end", lambda: not e2e_node.cluster.connection.json("GET", f"/api/v1/namespaces/{SYSTEM}/pods")["items"], 60)
        left = {item for item in objects() - self.before if not item.startswith(("swarmautoscalers/", "apibudgets/"))}
        # Kubernetes' own in each namespace.
        left -= {f"serviceaccounts/{SYSTEM}/default", f"secrets/{SYSTEM}/default-token", f"configmaps/{SYSTEM}/kube-root-ca.crt"}
        definitions = {f"customresourcedefinitions//{kind}.swarmscale.dev" for kind in ("swarmautoscalers", "apibudgets")}
        own = {f"namespaces//{SYSTEM}", f"leases/{SYSTEM}/swarmscale-controller", f"secrets/{SYSTEM}/swarmscale-certificates"}
        # apiextensions makes an APIService for each group.
        self.assertEqual(left - {"apiservices//v1alpha1.swarmscale.dev"}, definitions | own)
        for item in definitions | own - {f"namespaces//{SYSTEM}"}:
            self.assertIn(item.rpartition("/")[2], notes)
        # Autoscaler and budget are there as before; the fleet goes on working, and loses nothing.
        self.assertEqual(self.autoscaler()["metadata"]["name"], e2e_fleet.NAME)
        done = len([task for task in self.queue.tasks() if task["end"]])
        self.wait("work without a controller", lambda: len([task for task in self.queue.tasks() if task["end"]]) > done + e2e_fleet.FEW, 60)
        self.test_5_all_requests_have_succeeded_and_no_task_was_lost()


class ByKustomizeTests(InstalledTests):
    """`kubectl apply -k manifests/default`, and `kubectl delete -k`."""

    # More of the fleet's story is in e2e_fleet, which installs the same way.
    test_4_a_pod_that_is_deleted_at_work_finishes_it_first = None  # type: ignore[assignment]

    @classmethod
    def put_in(cls) -> None:
        say("installing manifests/default")
        e2e_node.cluster.kubectl("apply", "-f", "-", content=cls.manifests())

    def test_6_services_are_reached_and_nothing_was_forbidden(self) -> None:
        self.check_services()
        self.check_rights()

    def test_7_applied_again_nothing_changes(self) -> None:
        answer = e2e_node.cluster.kubectl("apply", "-f", "-", content=self.manifests())
        self.assertEqual([line for line in answer.splitlines() if not line.endswith(" unchanged")], [])

    def test_8_deleted_nothing_is_left(self) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(self.manifests())
            file.flush()
            # Autoscalers and budgets go with their definitions, the namespace with what the controller has made in it.
            e2e_node.cluster.kubectl("delete", "--wait=false", "-f", file.name)
        self.wait("the end of all of it", lambda: objects() <= self.before, 90)
        self.test_5_all_requests_have_succeeded_and_no_task_was_lost()


def load_tests(loader: unittest.TestLoader, _tests: unittest.TestSuite, _pattern: str | None) -> unittest.TestSuite:
    """Ours alone; first where nothing of ours was ever installed."""
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (ByHelmTests, ByKustomizeTests))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="folder of a cluster that scripts/cluster has started")
    parser.add_argument("--programs", type=Path, required=True, help="folder of swarmscale, swarmscale-controller, swarmscale-sidecar and mock-claude")
    parser.add_argument("--archive", type=Path, help="the image as it is shipped; default: one made of the programs")
    parser.add_argument("--python", type=Path, required=True, help="python3 of a virtual environment with the package anthropic")
    arguments, rest = parser.parse_known_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    FleetTests.programs, FleetTests.python = arguments.programs.resolve(), arguments.python.absolute()
    FleetTests.archive = arguments.archive and arguments.archive.resolve()
    e2e_node.cluster = Cluster(arguments.dir)
    # The steps build on each other: after a failure the rest would only fail slowly.
    sys.argv = [sys.argv[0], "--failfast", *rest]
    sys.exit(main(verbosity=0))
