"""The controller's page in headless Chromium: see `run --help`."""
import argparse
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request

import axe_playwright_python
from playwright.sync_api import Page, expect, sync_playwright

SECONDS = 20_000  # how long to wait for what must come, in milliseconds; a machine may be busy
CASES = []


def case(function):
    CASES.append(function)
    return function


class Served:
    """A running preview."""

    def __init__(self, program: str, *flags: str, port: int = 0):
        self.process = subprocess.Popen([program, "--port", str(port), *flags], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


class Bench:
    """The browser, and what every case checks at its end: no error, no violation of the security policy."""

    def __init__(self, browser, arguments):
        self.browser = browser
        self.arguments = arguments

    @contextlib.contextmanager
    def served(self, *flags: str, port: int = 0):
        served = Served(self.arguments.preview, *flags, port=port)
        try:
            yield served
        finally:
            served.stop()

    @contextlib.contextmanager
    def page(self, url: str, width=1280, height=900, allowed=(), **context):
        # A page without motion doesn't fade while it is looked at.
        context = self.browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **context)
        context.set_default_timeout(SECONDS)
        page = context.new_page()
        problems = []
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("console", lambda message: problems.append(f"console: {message.text}") if message.type in ("error", "warning") else None)
        page.add_init_script("document.addEventListener('securitypolicyviolation', (e) => console.error('policy: ' + e.violatedDirective + ' ' + e.blockedURI));")
        page.goto(url)
        try:
            yield page
            left = [problem for problem in problems if not any(word in problem for word in allowed)]
            assert not left, left
        finally:
            context.close()

    def shot(self, page: Page, name: str, **options):
        if self.arguments.shots:
            os.makedirs(self.arguments.shots, exist_ok=True)
            page.screenshot(path=f"{self.arguments.shots}/{name}.png", **options)


def ready(page: Page):
    expect(page.locator("#live")).to_have_attribute("data-state", "live", timeout=SECONDS)
    expect(page.locator("#replicas-chart svg")).to_be_visible(timeout=SECONDS)


def no_sideways(page: Page):
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], f"it scrolls sideways: {width}"


def accessible(page: Page, what: str):
    """axe-core, as it comes inside the package, put in by the debugger: the page itself would refuse it."""
    source = (pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
    page.evaluate(source)
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    found = [(v["id"], v["impact"], [n["html"][:120] + " | " + (n["any"][0]["message"] if n["any"] else "") for n in v["nodes"][:4]]) for v in result["violations"]]
    assert not found, f"{what}: {json.dumps(found, indent=1)}"
    # An empty report would pass as well.
    assert len(page.evaluate("axe.run(document, {runOnly: ['color-contrast']}).then((r) => r.passes)")) == 1


@case
def it_loads_and_moves_by_itself(bench: Bench):
    with bench.served("--pace", "300") as served, bench.page(served.url) as page:
        ready(page)
        assert page.locator("#fleet-rows tr").count() == 3
        assert page.locator("#replicas-chart path.line").count() == 4
        assert page.locator("#budgets .measure").count() == 5
        assert page.locator("#worker-rows tr").count() >= 5
        path = page.locator("#replicas-chart path.line.demand").get_attribute("d")
        newest = page.locator("#decisions li").first.get_attribute("data-key")
        page.wait_for_function("(old) => document.querySelector('#replicas-chart path.line.demand').getAttribute('d') !== old", arg=path)
        page.wait_for_function("(old) => document.querySelector('#decisions li').dataset.key !== old", arg=newest)
        # News is said aloud, and politely.
        expect(page.locator("#news[aria-live=polite]")).not_to_be_empty()
        expect(page.locator("#lost")).to_be_hidden()


@case
def it_says_what_became_of_removed_workers(bench: Bench):
    line = "#workers-outcome"
    with bench.served("--pace", "60000") as served, bench.page(served.url) as page:
        ready(page)
        expect(page.locator(line)).to_have_attribute("data-tone", "good")
        fleet = page.evaluate("fetch('/api/v1/fleets').then((answer) => answer.json()).then((data) => data.fleets[0])")
        assert fleet["removed"] > 0 and fleet["removedBusy"] == fleet["lostWork"] == 0, fleet
        expect(page.locator(line)).to_have_text(f"{fleet['removed']} workers removed by scale-downs, no task lost.")
    with bench.served("--scene", "losses", "--pace", "60000") as served, bench.page(served.url) as page:
        ready(page)
        expect(page.locator(line)).to_have_attribute("data-tone", "bad")
        expect(page.locator(line)).to_have_text(re.compile(
            r"^\d+ workers removed by scale-downs, \d+ tasks lost with their workers; \d+ workers left while busy\.$"))
        accessible(page, "losses")
        bench.shot(page, "losses", full_page=True)
    # Where no worker reports nobody knows what was lost, and the page claims nothing.
    with bench.served("--scene", "alone", "--pace", "60000") as served, bench.page(served.url) as page:
        ready(page)
        expect(page.locator(line)).to_have_text(re.compile(r"^\d+ workers removed by scale-downs\.$"))


@case
def a_worker_shows_its_drain(bench: Bench):
    # Here the load falls, and one worker has drained that the next decision removes.
    with bench.served("--phase", "47", "--pace", "60000") as served, bench.page(served.url) as page:
        ready(page)
        first = page.locator("#worker-rows tr").first
        expect(first.locator(".tag")).to_have_text("drained")
        expect(first.locator("td").first).to_contain_text("0 / 3")
        expect(page.locator("#workers-sum")).to_contain_text("1 draining")
        accessible(page, "draining")
        bench.shot(page, "draining", full_page=True)


@case
def a_decision_opens_and_can_be_linked_to(bench: Bench):
    with bench.served("--pace", "60000") as served, bench.page(served.url) as page:
        ready(page)
        link = page.locator("#decisions a").nth(1)
        words = link.locator(".head bdi").inner_text()
        link.click()
        dialog = page.locator("#dialog")
        expect(dialog.locator("h2")).to_have_text(words)
        expect(dialog.locator(".steps li")).to_have_count(7)
        expect(dialog.locator(".steps li[data-binding=true]")).to_have_count(1)
        dialog.locator("summary", has_text="What was decided").click()
        plan = json.loads(dialog.locator("details[open] pre").inner_text())
        assert plan["bindingStep"]
        address = page.url
        assert "#decision/" in address
        accessible(page, "an open decision")
        bench.shot(page, "decision")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        assert "#decision/" not in page.url
        with bench.page(address) as other:
            expect(other.locator("#dialog h2")).to_have_text(words)
        with bench.page(served.url + "/#decision/other-1", allowed=["404"]) as other:
            expect(other.locator("#dialog-body")).to_contain_text("--decision-log")


@case
def the_keyboard_is_enough(bench: Bench):
    with bench.served("--pace", "60000") as served, bench.page(served.url) as page:
        ready(page)

        def tab_to(test: str, limit=60):
            for _ in range(limit):
                page.keyboard.press("Tab")
                # Whatever has the focus shows it.
                assert page.evaluate("(e => e === document.body || getComputedStyle(e).outlineStyle !== 'none')(document.activeElement)"), page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
                if page.evaluate(f"document.activeElement.matches({json.dumps(test)})"):
                    return
            raise AssertionError(f"Tab never came to {test}")

        tab_to(".skip", 1)
        tab_to("#theme")
        page.keyboard.press("Enter")
        expect(page.locator("#theme")).to_have_text("Theme: light")
        tab_to("#fleet-rows tr:nth-child(2) a")
        page.keyboard.press("Enter")
        expect(page.locator("#detail-title")).to_have_text("summarizers")
        expect(page.locator("#fleet-rows tr:nth-child(2) a")).to_have_attribute("aria-current", "true")
        tab_to("[data-span='3600']")
        page.keyboard.press("Space")
        expect(page.locator("[data-span='3600']")).to_have_attribute("aria-pressed", "true")
        tab_to("details.data summary")
        page.keyboard.press("Enter")
        expect(page.locator("#replicas-table tbody tr").first).to_be_visible()
        tab_to("#decisions a")
        opened = page.evaluate("document.activeElement.parentElement.dataset.key")
        page.keyboard.press("Enter")
        expect(page.locator("#dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#dialog")).to_be_hidden()
        assert page.evaluate("document.activeElement.parentElement.dataset.key") == opened, "the focus is lost"


@case
def it_passes_the_accessibility_check(bench: Bench):
    with bench.served("--pace", "60000") as served:
        for scheme in ("light", "dark"):
            for width in (1280, 360):
                with bench.page(served.url, width=width, color_scheme=scheme) as page:
                    ready(page)
                    page.locator("details.data summary").click()
                    accessible(page, f"{scheme} {width}")
                    no_sideways(page)
                    page.locator("details.data summary").click()
                    bench.shot(page, f"page-{width}-{scheme}")
                    bench.shot(page, f"full-{width}-{scheme}", full_page=True)


@case
def the_theme_is_remembered(bench: Bench):
    with bench.served("--pace", "60000") as served, bench.page(served.url, color_scheme="light") as page:
        ready(page)
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator("#theme").click()
        page.locator("#theme").click()
        expect(page.locator("#theme")).to_have_text("Theme: dark")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert light != dark
        page.reload()
        ready(page)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
        page.locator("#theme").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light


@case
def hostile_names_are_text(bench: Bench):
    with bench.served("--pace", "300", "--scene", "hostile") as served:
        for width in (1280, 360):
            with bench.page(served.url, width=width) as page:
                ready(page)
                expect(page.locator("#fleet-rows tr")).to_have_count(8)
                for index in range(8):
                    link = page.locator("#fleet-rows a").nth(index)
                    text = link.inner_text()
                    assert "\u202e" not in text
                    link.click()
                    expect(page.locator("#detail-title")).to_have_text(text)
                    expect(page.locator("#live")).to_have_attribute("data-state", "live")
                    expect(page.locator("#worker-rows tr").first).to_be_visible()
                    no_sideways(page)
                page.locator("#decisions a").first.click()
                expect(page.locator("#dialog .steps li")).to_have_count(7)
                no_sideways(page)
                assert page.locator("img").count() == 1, "a name became a picture"
                assert page.evaluate("document.scripts.length") == 2, "a name became a script"
                assert "hacked" != page.title()
                # Characters that turn what stands around them (U+202E and its kin) are shown as what they are: foreign.
                steering = page.evaluate("document.body.textContent.match(/[\\u202a-\\u202e\\u2066-\\u2069]/g)")
                assert steering is None, steering
                bench.shot(page, f"hostile-{width}", full_page=True)
                page.keyboard.press("Escape")
                accessible(page, "hostile names")


@case
def a_thousand_fleets_stay_usable(bench: Bench):
    with bench.served("--pace", "1000", "--fleets", "1000") as served, bench.page(served.url) as page:
        ready(page)
        expect(page.locator("#fleets-count")).to_contain_text(re.compile("1.?000 fleets"))
        assert page.locator("#fleet-rows tr").count() == 20
        assert page.evaluate("document.querySelectorAll('*').length") < 4000, "too much is drawn"
        page.locator("#page-on").click()
        expect(page.locator("#page-text")).to_contain_text("21–40")
        page.locator("#filter-name").fill("fleet-77")
        expect(page.locator("#fleet-rows tr")).to_have_count(11)
        page.locator("#filter-namespace").select_option("team-2")
        names = page.locator("#fleet-rows tr").count()
        assert 0 < names < 11
        page.locator("#fleet-rows a").first.click()
        expect(page.locator("#detail-title")).to_contain_text("fleet-77")
        expect(page.locator("#detail-title")).to_be_in_viewport()
        page.locator("#filter-name").fill("none-is-called-so")
        expect(page.locator("#fleets-none")).to_be_visible()
        page.locator("#filter-name").fill("")
        page.locator("#filter-namespace").select_option("")
        # The longest that the page keeps a person waiting while a thousand fleets move each second.
        longest = page.evaluate("""() => new Promise((done) => {
          let longest = 0, last = performance.now(); const end = last + 4000;
          const step = (now) => { longest = Math.max(longest, now - last); last = now; now < end ? requestAnimationFrame(step) : done(longest); };
          requestAnimationFrame(step); })""")
        print(f"    longest frame {longest:.0f} ms", flush=True)
        accessible(page, "1,000 fleets")
        no_sideways(page)
        bench.shot(page, "thousand")


@case
def it_says_when_the_connection_is_lost_and_comes_back(bench: Bench):
    with contextlib.ExitStack() as stack:
        first = Served(bench.arguments.preview, "--pace", "300")
        stack.callback(first.stop)
        page = stack.enter_context(bench.page(first.url, allowed=["Failed to load resource", "ERR_"]))
        ready(page)
        first.stop()
        expect(page.locator("#lost")).to_be_visible()
        expect(page.locator("#live")).to_have_attribute("data-state", "lost")
        expect(page.locator("#lost-text")).to_contain_text("Connection lost")
        assert page.locator("#fleet-rows tr").count() == 3, "what was known stays"
        bench.shot(page, "lost")
        second = Served(bench.arguments.preview, "--pace", "300", port=first.port)
        stack.callback(second.stop)
        page.locator("#retry").click()
        expect(page.locator("#lost")).to_be_hidden()
        ready(page)
        # Another run of the program: its decisions have other ids, and they go on coming.
        newest = page.locator("#decisions li").first.get_attribute("data-key")
        page.wait_for_function("(old) => document.querySelector('#decisions li').dataset.key !== old", arg=newest)


@case
def empty_states_teach(bench: Bench):
    with bench.served("--scene", "empty") as served, bench.page(served.url) as page:
        expect(page.locator("#no-fleets")).to_contain_text("kind: SwarmAutoscaler")
        expect(page.locator("#detail")).to_be_hidden()
        accessible(page, "no fleets")
        bench.shot(page, "empty")
    with bench.served("--scene", "standby") as served, bench.page(served.url) as page:
        expect(page.locator("#standby-text")).to_contain_text("swarmscale-controller-5d9fbb7c84-x2x8q")
        expect(page.locator("#standby-command")).to_contain_text("port-forward")
        expect(page.locator("#no-fleets")).to_be_hidden()
        accessible(page, "standing by")
        bench.shot(page, "standby")
    with bench.served("--scene", "alone") as served, bench.page(served.url) as page:
        ready(page)
        expect(page.locator("#budgets")).to_contain_text("--coordinator-listen")
        expect(page.locator("#workers-none")).to_contain_text("--coordinator-listen")
        accessible(page, "without a coordinator")


@case
def the_server_refuses_what_it_must(bench: Bench):
    with bench.served() as served:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            request = urllib.request.Request(served.url + "/api/v1/fleets", data=b"", method=method)
            try:
                urllib.request.urlopen(request, timeout=20)
                raise AssertionError(f"{method} was answered")
            except urllib.error.HTTPError as error:
                assert (error.code, error.headers["Allow"]) == (405, "GET, HEAD"), (method, error.code)
        with urllib.request.urlopen(served.url + "/", timeout=20) as answer:
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            tag = answer.headers["ETag"]
            length = len(answer.read())
        with urllib.request.urlopen(urllib.request.Request(served.url + "/", method="HEAD"), timeout=20) as answer:
            assert int(answer.headers["Content-Length"]) == length
        try:
            urllib.request.urlopen(urllib.request.Request(served.url + "/", headers={"If-None-Match": tag}), timeout=20)
            raise AssertionError("not a 304")
        except urllib.error.HTTPError as error:
            assert error.code == 304
        with urllib.request.urlopen(served.url + "/healthz", timeout=20) as answer:
            assert answer.read() == b"ok\n"


@case
def a_client_that_does_not_read_is_cut_off(bench: Bench):
    import socket
    with bench.served("--pace", "50", "--tick", "50", "--fleets", "200") as served:
        with socket.create_connection(("127.0.0.1", served.port)) as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            # Until the server has filled the connection's buffers and 32 events more, and closes it: then a write of ours fails.
            lazy.settimeout(5)
            deadline = time.monotonic() + 240
            while time.monotonic() < deadline:
                time.sleep(1)
                try:
                    lazy.sendall(b"X: y\r\n")
                except OSError:
                    return
            raise AssertionError("it still has its connection")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preview", required=True)
    parser.add_argument("--chromium", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--shots")
    arguments = parser.parse_args()
    failed = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        bench = Bench(browser, arguments)
        chosen = [function for function in CASES if arguments.only in function.__name__]
        for function in chosen:
            name = function.__name__.replace("_", " ")
            began = time.monotonic()
            try:
                function(bench)
                print(f"ok      {name} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception:
                failed.append(name)
                print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)
        browser.close()
    print(f"{len(chosen) - len(failed)} of {len(chosen)} cases passed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
