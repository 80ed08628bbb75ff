"""A data set of images that are wider than high, as files, and the smallest runs on it."""

import numpy as np
from PIL import Image

HEIGHT, WIDTH, DEFECT = 40, 100, 12  # pixels; the defect is a square
COUNTS = {"train/good": 40, "train/bad": 12, "test/good": 8, "test/bad": 8}


def image(seed: int, defect: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 [40, 100]: a ramp from left to right with noise, and a bright square at (top, left) of it."""
    rng = np.random.default_rng(seed)
    pixels = np.linspace(60, 140, WIDTH)[None] + rng.normal(0, 6, (HEIGHT, WIDTH)) + rng.uniform(-8, 8)
    if defect is not None:
        top, left = defect
        pixels[top : top + DEFECT, left : left + DEFECT] += rng.normal(90, 15, (DEFECT, DEFECT))
    return np.uint8(np.clip(pixels, 0, 255))


def corner(index: int) -> tuple[int, int]:
    """(top, left) of the defect of an abnormal image: in each of the parts of the image."""
    return 4 + 20 * (index % 2), 6 + 11 * (3 * index % 8)


def write(folder):
    """Writes the data set in the layout of MVTec AD; returns the folder."""
    for number, (part, count) in enumerate(COUNTS.items()):
        (folder / part).mkdir(parents=True)
        for i in range(count):
            defect = corner(i) if part.endswith("bad") else None
            Image.fromarray(image(1000 * number + i, defect)).save(folder / part / f"{i:03}.png")
            if part == "test/bad":
                (folder / "ground_truth/bad").mkdir(parents=True, exist_ok=True)
                mask = np.zeros((HEIGHT, WIDTH), np.uint8)
                mask[defect[0] : defect[0] + DEFECT, defect[1] : defect[1] + DEFECT] = 255
                Image.fromarray(mask).save(folder / f"ground_truth/bad/{i:03}_mask.png")
    return folder
