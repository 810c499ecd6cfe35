#!/usr/bin/env python3
"""The container image: what is in it, and that both programs work in it under Pod Security "restricted".

Started by Tests/Image/run. Ends with the line `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import re
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Cluster")]

from container import Container  # noqa: E402
from selftest import ROOT, eventually, main  # noqa: E402
from swarmcluster.plane import ControlPlane  # noqa: E402
from swarmcluster.processes import free_ports  # noqa: E402

SYSTEM = "swarmscale-system"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
SCHEDULED = 3
AUTOSCALER = {
    "apiVersion": "swarmscale.dev/v1alpha1", "kind": "SwarmAutoscaler", "metadata": {"name": "triagers"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "triagers"}, "minReplicas": 1, "maxReplicas": 9,
        # Begins anew each minute, and ends for that of New Year's.
        "metrics": [{"type": "Schedule", "schedule": {"timeZone": "Europe/Berlin", "start": "* * * * *", "end": "0 0 1 1 *", "replicas": SCHEDULED}}],
    },
}  # fmt: skip
SHELLS = {
    "sh", "bash", "dash", "ash", "zsh", "busybox", "apt", "apt-get", "dpkg", "perl", "python3", "openssl", "curl", "wget", "tar", "su", "mount",
}  # fmt: skip


@dataclasses.dataclass
class Subject:
    """What is tested, by the command line."""

    archive: Path
    root: Path
    runc: Path
    resolved: Path | None
    hidden: list[bytes]
    with_tool: bool


subject: Subject


def archive_module() -> Any:
    """scripts/lib/image-archive as a module."""
    loader = importlib.machinery.SourceFileLoader("image_archive", str(ROOT / "scripts/lib/image-archive"))
    specification = importlib.util.spec_from_loader("image_archive", loader)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["image_archive"] = module
    loader.exec_module(module)
    return module


class Tests(unittest.TestCase):
    """What all have in common: the image, read once."""

    image: ClassVar[Any]
    entries: ClassVar[dict[str, tarfile.TarInfo]] = {}

    @classmethod
    def setUpClass(cls) -> None:
        if not Tests.entries:
            Tests.image = archive_module().Image.read(subject.archive)
            Tests.entries = {
                "/" + member.name.removeprefix("./").strip("/"): member for layer in Tests.image.layer_files() for member in layer
            }

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that a container inherits."""
        found: dict[str, Any] = self.image.config["config"]
        return found

    def content(self, path: str) -> bytes:
        """A file of the image."""
        return (subject.root / path.lstrip("/")).read_bytes()

    @property
    def programs(self) -> list[str]:
        """The programs that belong into the image."""
        return ["swarmscale", "swarmscale-controller", "swarmscale-sidecar"] if subject.with_tool else ["swarmscale-controller", "swarmscale-sidecar"]

    def container(self, *arguments: str, **options: Any) -> Container:
        """A container of the image."""
        return Container(subject.runc, subject.root, self.config, arguments, **options)


class ContentsTests(Tests):
    """The archive, without running anything."""

    def test_it_is_small(self) -> None:
        sizes = [len(layer) for layer in self.image.layers()]
        print(f"image: {sum(sizes) / 1e6:.1f} MB compressed, layers {[round(size / 1e6, 1) for size in sizes]}")
        self.assertLess(sum(sizes), 80e6)

    def test_the_base_is_a_layer_of_its_own(self) -> None:
        self.assertEqual(len(self.image.layers()), 2, "a release must be able to share the Debian layer of the one before")
        base = {member.name for member in self.image.layer_files()[0]}
        self.assertFalse([name for name in base if "swarmscale" in name], "the Debian layer must not change with our version")

    def test_it_runs_as_nonroot_by_number(self) -> None:
        self.assertEqual(self.config["User"], "65532:65532")
        self.assertIn("nonroot:x:65532:65532:", self.content("/etc/passwd").decode())

    def test_a_pod_names_the_program_and_the_controller_is_the_default(self) -> None:
        self.assertFalse(self.config.get("Entrypoint"))
        self.assertEqual(self.config["Cmd"], ["swarmscale-controller"])

    def test_labels_tell_what_it_is(self) -> None:
        labels = {name.removeprefix("org.opencontainers.image."): value for name, value in self.config["Labels"].items()}
        for name in ("title", "description", "source", "revision", "version", "created", "licenses"):
            self.assertTrue(labels.get(name), f"the label {name} is missing")
        self.assertEqual((labels["title"], labels["licenses"]), ("swarmscale", "Apache-2.0"))
        self.assertRegex(labels["source"], r"^https://[^@\s]+$")
        self.assertRegex(labels["revision"], r"^[0-9a-f]{40}(-modified)?$")

    def test_files_belong_to_root_and_nobody_else_may_write_them(self) -> None:
        wrong = []
        for path, member in self.entries.items():
            shared = path in ("/tmp", "/var/tmp")
            if member.uid or member.gid or member.mode & (stat.S_ISUID | stat.S_ISGID):
                wrong.append(path)
            if not member.issym() and bool(member.mode & 0o022) != shared:
                wrong.append(path)
            if member.isdev() or member.isfifo():
                wrong.append(path)
        self.assertEqual(wrong, [])

    def test_nothing_can_be_run_but_the_programs(self) -> None:
        files = {path: member for path, member in self.entries.items() if not member.isdir()}
        self.assertEqual(sorted(path for path in files if re.match(r"/(usr/)?s?bin/", path)), [f"/usr/bin/{name}" for name in self.programs])
        executable = {path for path, member in files.items() if member.isreg() and member.mode & 0o111}
        others = {path for path in executable if not re.search(r"/lib/[^/]+/[^/]+\.so[^/]*$", path)} - {f"/usr/bin/{name}" for name in self.programs}
        self.assertEqual(others, set())
        self.assertFalse({path for path in files if path.rpartition("/")[2] in SHELLS and "/share/doc/" not in path})

    def test_authorities_and_time_zones_are_there(self) -> None:
        self.assertGreater(self.content("/etc/ssl/certs/ca-certificates.crt").count(b"BEGIN CERTIFICATE"), 100)
        self.assertTrue(self.content("/usr/share/zoneinfo/Europe/Berlin").startswith(b"TZif"))

    def test_programs_are_stripped(self) -> None:
        for name in self.programs:
            sections = subprocess.run(["readelf", "-SW", str(subject.root / "usr/bin" / name)], capture_output=True, text=True, check=True).stdout
            self.assertNotRegex(sections, r"\.(symtab|debug_info)\b")

    def test_nothing_tells_about_the_machine_that_built_it(self) -> None:
        found: dict[str, list[str]] = {}
        for path, member in self.entries.items():
            if member.isreg():
                data = self.content(path)
                for text in subject.hidden:
                    if text in data:
                        at = data.index(text)
                        found.setdefault(path, []).append(data[at : at + 120].decode("utf-8", "replace"))
        configuration = json.dumps(self.image.config).encode()
        self.assertEqual([text for text in subject.hidden if text in configuration], [])
        self.assertEqual(found, {}, "programs are built by scripts/build-release, which maps paths")


class MaterialsTests(Tests):
    """The bill of materials."""

    document: ClassVar[dict[str, Any]]
    names: ClassVar[dict[str, dict[str, Any]]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.document = json.loads((subject.root / "usr/share/doc/swarmscale/sbom.spdx.json").read_text(encoding="utf-8"))
        cls.names = {entry["SPDXID"]: entry for entry in cls.document["packages"]}

    def purls(self, kind: str) -> dict[str, str]:
        """Version by name of the packages whose URL is of that kind."""
        locators = [reference["referenceLocator"] for entry in self.document["packages"] for reference in entry.get("externalRefs", ())]
        self.assertEqual(len(locators), len(set(locators)))
        found = [re.fullmatch(rf"pkg:{kind}/(?:.*/)?([^/@]+)@([^?]+)(\?.*)?", locator) for locator in locators]
        return {match[1]: urllib.request.unquote(match[2]) for match in found if match}

    def test_it_is_whole(self) -> None:
        self.assertEqual((self.document["spdxVersion"], self.document["dataLicense"]), ("SPDX-2.3", "CC0-1.0"))
        self.assertEqual(len(self.names), len(self.document["packages"]), "two packages have the same identifier")
        for entry in self.document["packages"]:
            self.assertRegex(entry["SPDXID"], r"^SPDXRef-[A-Za-z0-9.-]+$")
            self.assertTrue(entry["name"] and entry["versionInfo"], entry)
        reached = {edge["relatedSpdxElement"] for edge in self.document["relationships"]}
        self.assertEqual(reached, set(self.names), "each package hangs on an edge, and each edge on a package")

    def test_it_lists_every_debian_package_of_the_image(self) -> None:
        # Licences are laid by dpkg, the list by our script: two ways to the same names. Some folders are links to another's.
        licensed = {path.split("/")[4] for path in self.entries if re.match(r"/usr/share/doc/[^/]+(/copyright)?$", path)} - {"swarmscale"}
        listed = {path.rpartition("/")[2] for path in self.entries if path.startswith("/var/lib/dpkg/status.d/")}
        self.assertEqual(licensed, listed)
        self.assertEqual(set(self.purls("deb")), listed)
        for name, version in self.purls("deb").items():
            self.assertIn(f"\nVersion: {version}\n", self.content(f"/var/lib/dpkg/status.d/{name}").decode())

    def test_it_lists_every_swift_package_with_its_licence(self) -> None:
        if subject.resolved is None:
            self.skipTest("no Package.resolved was named")
        pins = json.loads(subject.resolved.read_text(encoding="utf-8"))["pins"]
        expected = {pin["identity"]: pin["state"].get("version") for pin in pins}
        listed = {entry["name"]: entry for entry in self.document["packages"] if entry["SPDXID"].startswith("SPDXRef-swift-")}
        self.assertTrue(listed.pop("swift-runtime")["versionInfo"])
        self.assertEqual({name: entry["versionInfo"] for name, entry in listed.items()}, expected)
        for name, entry in listed.items():
            self.assertNotEqual(entry["licenseDeclared"], "NOASSERTION", name)
            self.assertTrue(any((subject.root / "usr/share/doc/swarmscale/licenses" / name).iterdir()), name)

    def test_programs_are_those_that_it_lists(self) -> None:
        listed = {entry["name"]: entry["checksums"][0]["checksumValue"] for entry in self.names.values() if "packageFileName" in entry}
        actual = {name: hashlib.sha256(self.content(f"/usr/bin/{name}")).hexdigest() for name in self.programs}
        self.assertEqual(listed, actual)

    def test_a_copy_lies_beside_the_archive(self) -> None:
        beside = subject.archive.with_name(subject.archive.name + ".spdx.json")
        self.assertEqual(json.loads(beside.read_text(encoding="utf-8")), self.document)


class RunningTests(Tests):
    """Containers as Pod Security "restricted" allows them."""

    plane: ClassVar[ControlPlane]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.plane = ControlPlane(Path(os.environ["SWARMSCALE_TEST_CLUSTER"]).parent).load()

    def finishes(self, *arguments: str) -> str:
        """What a program prints that ends by itself, and well."""
        with self.container(*arguments) as container:
            code = container.wait(30)
            self.assertEqual(code, 0, container.output)
            return container.output

    def answers(self, container: Container, url: str) -> None:
        """Waits until an address answers 200, while the container runs."""

        def attempt() -> bool:
            self.assertFalse(container.has_ended, f"the container has ended:\n{container.output}")
            try:
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        try:
            eventually(url, attempt)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{container.output}") from None

    def check_restricted(self, container: Container) -> None:
        """The process is what the pod's security context asks for, as the kernel sees it."""
        status = Path(f"/proc/{container.pid}/status").read_text(encoding="utf-8")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        self.assertEqual(fields["Uid"].split(), ["65532"] * 4)
        self.assertEqual(fields["Gid"].split(), ["65532"] * 4)
        self.assertEqual(fields["NoNewPrivs"], "1")
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(fields[name], 16), 0, name)
        mounts = [line.split() for line in Path(f"/proc/{container.pid}/mountinfo").read_text(encoding="utf-8").splitlines()]
        root = [fields[5].split(",") for fields in mounts if fields[4] == "/"]
        self.assertIn("ro", root[-1])

    def test_the_controller_tells_its_version_and_its_flags(self) -> None:
        version = self.finishes("swarmscale-controller", "--version").strip()
        self.assertEqual(version, self.config["Labels"]["org.opencontainers.image.version"])
        self.assertIn("--leader-election-namespace", self.finishes("swarmscale-controller", "--help"))

    def test_the_tool_works(self) -> None:
        if not subject.with_tool:
            self.skipTest("an image without it")
        self.assertIn("validate", self.finishes("swarmscale", "--help"))

    def test_the_sidecar_serves_and_ends_in_good_order(self) -> None:
        (port,) = free_ports(1)
        with self.container("swarmscale-sidecar", f"--listen=127.0.0.1:{port}") as container:
            self.answers(container, f"http://127.0.0.1:{port}/healthz")
            self.check_restricted(container)
            container.terminate()
            self.assertEqual(container.wait(30), 0, container.output)

    def test_the_controller_serves_a_cluster_from_inside_and_ends_in_good_order(self) -> None:
        (port,) = free_ports(1)
        connection = self.plane.connection()
        kubectl = ["kubectl", "--kubeconfig", self.plane.state["kubeconfig"]]
        for arguments in (
            ["create", "namespace", SYSTEM],
            ["apply", "-k", str(ROOT / "manifests/crd")],
            ["apply", "-k", str(ROOT / "manifests/rbac")],
            ["wait", "--for=condition=Established", "--timeout=30s", "crd/swarmautoscalers.swarmscale.dev", "crd/apibudgets.swarmscale.dev"],
            ["create", "deployment", "triagers", "--image=none:1", "--replicas=1"],
        ):
            result = subprocess.run([*kubectl, *arguments], capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 0, f"{arguments}: {result.stderr}")
        connection.json("POST", "/apis/swarmscale.dev/v1alpha1/namespaces/default/swarmautoscalers", AUTOSCALER)
        # The very identity that the installed pod has, where a pod finds it.
        path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/swarmscale-controller/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token = connection.json("POST", path, request)["status"]["token"]
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("token", token), ("namespace", SYSTEM), ("ca.crt", Path(self.plane.state["caFile"]).read_text(encoding="utf-8"))):
                Path(folder, name).write_text(text, encoding="utf-8")
                Path(folder, name).chmod(0o644)
            Path(folder).chmod(0o755)
            environment = [
                f"KUBERNETES_SERVICE_HOST={self.plane.state['host']}", f"KUBERNETES_SERVICE_PORT={self.plane.state['ports']['kube-apiserver']}",
                f"POD_NAMESPACE={SYSTEM}", "POD_NAME=image-test",
            ]  # fmt: skip
            with self.container(
                "swarmscale-controller", f"--listen=127.0.0.1:{port}", f"--leader-election-namespace={SYSTEM}",
                "--leader-election-name=swarmscale-controller", mounts=[(Path(folder), ACCOUNT)], environment=environment,
            ) as container:  # fmt: skip
                self.answers(container, f"http://127.0.0.1:{port}/readyz")
                self.check_restricted(container)
                # The schedule is in Berlin's time: the count comes only if the image's own time zones are read.
                path = "/apis/apps/v1/namespaces/default/deployments/triagers/scale"

                def scaled() -> bool:
                    self.assertFalse(container.has_ended, container.output)
                    return bool(connection.json("GET", path)["spec"]["replicas"] == SCHEDULED)

                try:
                    eventually(f"{SCHEDULED} replicas", scaled)
                except AssertionError as error:
                    raise AssertionError(f"{error}\n{container.output}") from None
                container.terminate()
                self.assertEqual(container.wait(30), 0, container.output)
                self.assertNotRegex(container.output.lower(), r"forbidden|unauthorized|read-only file system|permission denied")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="the archive, unpacked")
    parser.add_argument("--runc", type=Path, required=True)
    parser.add_argument("--resolved", type=Path, help="Package.resolved of the programs' build")
    parser.add_argument("--hidden", action="append", default=[], help="text that the image must not hold")
    parser.add_argument("--with-tool", action="store_true", help="the image holds `swarmscale`, too")
    known, rest = parser.parse_known_args()
    # Short names of hosts, such as `vm`, are in any large file.
    hidden = {text for text in (*known.hidden, socket.gethostname()) if len(text) >= 8 and text != "localhost"}
    subject = Subject(known.archive, known.root, known.runc, known.resolved, sorted(text.encode() for text in hidden), known.with_tool)
    sys.argv = [sys.argv[0], *rest]
    sys.exit(main(verbosity=1))
