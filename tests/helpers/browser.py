"""A Chromium without a window, for tests of pages."""

import contextlib
import shutil

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
THERE = bool(BROWSER and DRIVER)

# Texts of less than 4.5 to 1 against the nearest background that is not transparent.
CONTRAST = """
const channels = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => {
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const [x, y, z] = [r, g, b].map((v) => linear(v / 255));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !element.checkVisibility({ visibilityProperty: true })) continue;
  if (element.matches(":disabled, :disabled *, option, svg *")) continue;
  let behind = element, back = [0, 0, 0, 0];
  while (behind) {
    back = channels(getComputedStyle(behind).backgroundColor);
    if (back.length === 3 || back[3] === 1) break;
    behind = behind.parentElement;
  }
  const pair = [light(channels(getComputedStyle(element).color)), light(back)].sort((a, b) => b - a);
  const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
  if (ratio < 4.5) found.push([element.id || element.className || element.tagName, ratio]);
}
return found;
"""


@contextlib.contextmanager
def driven(size=(1280, 900), downloads=None):
    """A selenium driver; downloads: folder that gets what the page saves."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--lang=en"):
        options.add_argument(argument)
    if downloads is not None:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.set_window_size(*size)
        yield driver
    finally:
        driver.quit()
