"""The pictures of the page: see scripts/generate-screenshots --help."""

import pathlib
import shutil
import subprocess
import sys

from playwright.sync_api import Page, expect, sync_playwright

#: GitHub shows a README's pictures to everybody who looks at it.
MOST_BYTES = 200_000


def held_by_the_budget(page: Page) -> None:
    """Waits until the first fleet is held by its API budget, which is what the product is about."""
    expect(page.locator("#live")).to_have_attribute("data-state", "live", timeout=60_000)
    expect(page.locator("#replicas-chart svg")).to_be_visible(timeout=60_000)
    expect(page.locator("#fleet-rows tr").first).to_contain_text("API budget", timeout=300_000)


def main(preview: str, output: str) -> None:
    """Serves the page and takes both pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    served = subprocess.Popen([preview, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert served.stdout
        url = f"http://127.0.0.1:{int(served.stdout.readline())}/"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for name, width, height, scheme in (("page", 1280, 1290, "light"), ("page-narrow", 360, 800, "dark")):
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce")
                page = context.new_page()
                page.goto(url)
                held_by_the_budget(page)
                file = pathlib.Path(output, f"{name}.png")
                page.screenshot(path=file)
                context.close()
                print(f"{file}: {file.stat().st_size // 1000} kB")
                if file.stat().st_size > MOST_BYTES:
                    raise SystemExit(f"{file} is larger than {MOST_BYTES // 1000} kB: take a smaller part of the page")
            browser.close()
    finally:
        served.terminate()
        served.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
