"""Makes photographs as large as a telephone's: scikit-learn's two photographs, enlarged."""

from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_images

SIZE = (4032, 3024)  # 12 megapixels
QUALITY = 89  # of the JPEGs, which then have 0.8 and 1.4 MB


def write_telephone_photographs(folder: Path) -> Path:
    """Write the JPEGs into a new folder, and return it."""
    folder.mkdir()
    for number, pixels in enumerate(load_sample_images().images):
        large = Image.fromarray(pixels).resize(SIZE, Image.Resampling.LANCZOS)
        large.save(folder / f"{number}.jpg", quality=QUALITY)
    return folder
