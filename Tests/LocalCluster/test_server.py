"""The local cluster's server by itself: who gets in, what it does with odd readers and writers, and its snapshot."""

from __future__ import annotations

import json
import socket
import ssl
import stat
import time
import unittest

from process import LocalCluster
from scenarios import config, deployment, pod
from server import MERGE

MAPS = "/api/v1/namespaces/default/configmaps"


class AccessTests(unittest.TestCase):
    """Other users of the machine stay out."""

    def test_only_with_a_token(self) -> None:
        with LocalCluster() as cluster:
            self.assertEqual(stat.S_IMODE(cluster.kubeconfig.stat().st_mode), 0o600)
            for token in ("", "nonsense", cluster.server.token[:-1], cluster.server.token + "0"):
                self.assertEqual(cluster.server.send("GET", "/api/v1/pods", token=token)[0], 401)
                self.assertEqual(cluster.server.send("GET", "/openapi/v3", token=token)[0], 401)
            self.assertEqual(cluster.server.send("GET", "/healthz", token=""), (200, "ok"))
            with socket.create_connection((cluster.server.url.hostname, cluster.server.url.port)) as plain:
                plain.sendall(f"GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {cluster.server.token}\r\n\r\n".encode())
                plain.settimeout(20)
                try:
                    self.assertNotIn(b"HTTP/1.1 200", plain.recv(1000))
                except ConnectionError:
                    pass

    def test_the_certificate_is_checked(self) -> None:
        with LocalCluster() as first, LocalCluster() as second:
            first.server.tls = second.server.tls
            with self.assertRaises(ssl.SSLCertVerificationError):
                first.server.send("GET", "/api")

    def test_a_service_account_gets_in_until_it_is_gone(self) -> None:
        with LocalCluster() as cluster:
            accounts = "/api/v1/namespaces/default/serviceaccounts"
            cluster.server.send("POST", accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}})
            token = cluster.server.send("POST", f"{accounts}/a/token", {"spec": {}})[1]["status"]["token"]
            self.assertEqual(cluster.server.send("GET", MAPS, token=token)[0], 200)
            cluster.server.send("DELETE", f"{accounts}/a")
            self.assertEqual(cluster.server.send("GET", MAPS, token=token)[0], 401)


class WatcherTests(unittest.TestCase):
    """Readers that are slow, lost or late."""

    def test_a_slow_reader_is_told_to_begin_anew(self) -> None:
        with LocalCluster("--changes", "20") as cluster:
            connection = cluster.server.connect()
            headers = {"Authorization": f"Bearer {cluster.server.token}"}
            connection.request("GET", f"{MAPS}?watch=1&resourceVersion=0", headers=headers)
            answer = connection.getresponse()
            # Until the sockets are full, and then beyond the log.
            big = "x" * 500_000
            cluster.server.send("POST", MAPS, config("big"))
            for index in range(60):
                cluster.server.send("PATCH", f"{MAPS}/big", {"data": {"a": big, "n": str(index)}}, type=MERGE)
            kinds = [json.loads(line) for line in iter(answer.readline, b"")]
            connection.close()
            self.assertEqual(kinds[-1]["type"], "ERROR")
            self.assertEqual(kinds[-1]["object"]["code"], 410)
            self.assertLess(len(kinds), 61)

    def test_an_old_version_is_gone(self) -> None:
        with LocalCluster("--changes", "20") as cluster:
            cluster.server.send("POST", MAPS, config("a"))
            for index in range(30):
                cluster.server.send("PATCH", f"{MAPS}/a", {"data": {"n": str(index)}}, type=MERGE)
            status, answer = cluster.server.send("GET", f"{MAPS}?watch=1&resourceVersion=2")
            self.assertEqual((status, answer["reason"]), (410, "Expired"))

    def test_lost_readers_leave_nothing_behind(self) -> None:
        with LocalCluster() as cluster:
            def descriptors() -> int:
                from pathlib import Path
                return len(list(Path(f"/proc/{cluster.process.pid}/fd").iterdir()))

            cluster.server.send("GET", "/api")
            before = descriptors()
            for _ in range(50):
                connection = cluster.server.connect()
                connection.request("GET", f"{MAPS}?watch=1&resourceVersion=0", headers={"Authorization": f"Bearer {cluster.server.token}"})
                connection.getresponse()
                connection.sock.close() if connection.sock else None
                connection.close()
            deadline = time.monotonic() + 60
            while descriptors() > before + 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            self.assertLessEqual(descriptors(), before + 2)

    def test_the_end_ends_watches(self) -> None:
        with LocalCluster() as cluster:
            connection = cluster.server.connect()
            connection.request("GET", f"{MAPS}?watch=1&resourceVersion=0", headers={"Authorization": f"Bearer {cluster.server.token}"})
            answer = connection.getresponse()
            self.assertEqual(cluster.stop(), 0)
            self.assertEqual(answer.read(), b"")
            connection.close()

    def test_bookmarks_tell_the_version(self) -> None:
        with LocalCluster() as cluster:
            cluster.server.send("POST", MAPS, config("a"))
            version = cluster.server.send("GET", MAPS)[1]["metadata"]["resourceVersion"]
            cluster.server.send("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
            events = cluster.server.watch(f"{MAPS}?watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=1", 5)
            self.assertEqual([event["type"] for event in events], ["BOOKMARK"])
            self.assertGreater(int(events[0]["object"]["metadata"]["resourceVersion"]), int(version))


class SourceTests(unittest.TestCase):
    """Logs and measurements come from whoever runs the pods."""

    def test_logs_and_usage(self) -> None:
        with LocalCluster() as home, LocalCluster("--sources", str(home.folder)) as cluster:
            server = cluster.server
            (home.folder / "default_measured_main.log").write_text("one\ntwo\nthree\n")
            pods = "/api/v1/namespaces/default/pods"
            server.send("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "local", "labels": {"a": "b"}}})
            for name in ("measured", "silent"):
                server.send("POST", pods, pod(name, {"app": "x"}))
                binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": "local"}}
                self.assertEqual(server.send("POST", f"{pods}/{name}/binding", binding)[0], 201)
                server.send("PATCH", f"{pods}/{name}/status", {"status": {"phase": "Running"}}, type=MERGE)
            self.assertEqual(server.send("GET", f"{pods}/measured/log"), (200, "one\ntwo\nthree\n"))
            self.assertEqual(server.send("GET", f"{pods}/measured/log?tailLines=1"), (200, "three\n"))
            self.assertEqual(server.send("GET", f"{pods}/measured/log?limitBytes=5"), (200, "one\nt"))
            status, answer = server.send("GET", f"{pods}/silent/log")
            self.assertEqual((status, answer["reason"]), (400, "BadRequest"))
            connection = server.connect()
            connection.request("GET", f"{pods}/measured/log?follow=true", headers={"Authorization": f"Bearer {server.token}"})
            followed = connection.getresponse()
            self.assertEqual([followed.readline() for _ in range(3)], [b"one\n", b"two\n", b"three\n"])
            connection.close()
            metrics = "/apis/metrics.k8s.io/v1beta1"
            items = server.send("GET", f"{metrics}/namespaces/default/pods?labelSelector=app%3Dx")[1]["items"]
            self.assertEqual([[i["metadata"]["name"], i["containers"], i["window"]] for i in items],
                             [["measured", [{"name": "main", "usage": {"cpu": "250000000n", "memory": "65536Ki"}}], "15.5s"]])  # fmt: skip
            self.assertEqual(server.send("GET", f"{metrics}/namespaces/default/pods?labelSelector=app%3Dy")[1]["items"], [])
            self.assertEqual(server.send("GET", f"{metrics}/namespaces/default/pods/silent")[0], 404)
            self.assertEqual(server.send("GET", f"{metrics}/nodes/local")[1]["usage"]["memory"], "1048576Ki")
            self.assertEqual(cluster.stop(), 0)


class BodyTests(unittest.TestCase):
    """Bodies that are too large, or that never end."""

    def test_too_large(self) -> None:
        with LocalCluster() as cluster:
            for size in (3 << 20, 10 << 20):
                try:
                    status, answer = cluster.server.send("POST", MAPS, raw=b" " * size + b"{}")
                except (BrokenPipeError, ConnectionResetError):
                    continue  # it hung up while the rest was still being sent
                self.assertEqual((status, answer["reason"]), (413, "RequestEntityTooLarge"))
            self.assertEqual(cluster.server.send("GET", MAPS)[0], 200)

    def test_half_a_body(self) -> None:
        with LocalCluster() as cluster:
            connection = cluster.server.connect()
            connection.putrequest("POST", MAPS)
            connection.putheader("Authorization", f"Bearer {cluster.server.token}")
            connection.putheader("Content-Length", "1000")
            connection.endheaders(b'{"apiVersion":')
            connection.close()
            self.assertEqual(cluster.server.send("GET", MAPS)[1]["items"], [])


class SnapshotTests(unittest.TestCase):
    """Objects that survive."""

    def test_a_restart_resumes(self) -> None:
        with LocalCluster() as home:
            file = str(home.folder / "snapshot")
            with LocalCluster("--snapshot", file) as first:
                path = "/apis/apps/v1/namespaces/default/deployments"
                first.server.send("POST", path, deployment("web", 2))
                version = int(first.server.send("GET", path)[1]["metadata"]["resourceVersion"])
                self.assertEqual(first.stop(), 0)
            with LocalCluster("--snapshot", file) as second:
                answer = second.server.send("GET", path)[1]
                self.assertEqual([item["metadata"]["name"] for item in answer["items"]], ["web"])
                self.assertGreater(int(answer["metadata"]["resourceVersion"]), version)

    def test_a_file_that_is_none_is_named(self) -> None:
        with LocalCluster() as home:
            file = home.folder / "snapshot"
            file.write_text("{half")
            with self.assertRaisesRegex(AssertionError, "can't be read"):
                LocalCluster("--snapshot", str(file), folder=home.folder)

    def test_a_place_that_can_not_be_written_is_said_once(self) -> None:
        with LocalCluster() as home:
            with LocalCluster("--snapshot", str(home.folder / "none" / "snapshot")) as cluster:
                self.assertEqual(cluster.server.send("POST", MAPS, config("a"))[0], 201)
                self.assertEqual(cluster.stop(), 0)
                log = (cluster.folder / "log").read_text()
                self.assertEqual(log.count("the snapshot can't be written"), 1, log)


if __name__ == "__main__":
    unittest.main()
