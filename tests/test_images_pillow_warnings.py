"""images/pillow_warnings.py: commands print no warning, and answers are the same with and without the filters."""

import io
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from tencrop.images.decode import decode
from tencrop.images.errors import ImageTooLarge
from tencrop.images.pillow_warnings import filter_pillow_warnings
from tencrop.model.contract import Contract

CONTRACT = Contract()
TOO_LARGE = (10_000, 9_000)  # pixels; Pillow warns from 89 million, and refuses twice as many


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def too_large() -> bytes:
    return encoded(Image.new("1", TOO_LARGE), "PNG")


@pytest.fixture(scope="module")
def corrupt_exif() -> bytes:
    return encoded(Image.new("RGB", (40, 30)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")


def test_decode_threads_of_a_command_are_quiet_and_refuse_a_bomb(too_large: bytes, corrupt_exif: bytes) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        filter_pillow_warnings()
        with ThreadPoolExecutor(2) as pool:
            with pytest.raises(ImageTooLarge, match="image of more than 50000000 pixels"):
                pool.submit(decode, too_large, CONTRACT).result()
            assert pool.submit(decode, corrupt_exif, CONTRACT).result()[0].shape == (256, 256, 3)
    assert [str(warning.message) for warning in seen] == []


def test_without_the_filters_the_answers_are_the_same_and_pillow_warns(too_large: bytes, corrupt_exif: bytes) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        warnings.simplefilter("always")
        with pytest.raises(ImageTooLarge, match="image of 10000x9000 pixels; at most 50000000"):
            decode(too_large, CONTRACT)
        assert decode(corrupt_exif, CONTRACT)[0].shape == (256, 256, 3)
    assert Image.DecompressionBombWarning in {warning.category for warning in seen}
    assert any("Corrupt EXIF" in str(warning.message) for warning in seen)


def test_the_filter_matches_pillows_own_warning() -> None:
    """By its text, for a command that decodes nothing does not import Pillow."""
    assert issubclass(Image.DecompressionBombWarning, RuntimeWarning)
    check = "import warnings, sys; from tencrop.images.pillow_warnings import filter_pillow_warnings as f; f()"
    check += "; assert 'PIL' not in sys.modules and len(warnings.filters) > 2"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)


def test_importing_the_decoder_changes_no_filter() -> None:
    check = "import warnings, numpy, PIL.Image; before = [*warnings.filters]"
    check += "; import tencrop.images.decode; assert warnings.filters == before"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)


def test_libtiff_writes_no_errors_past_the_log() -> None:
    """It waits for ever where stderr is a pipe that nobody reads: 1,243 damaged TIFFs ended a server."""
    check = "import io, sys\nfrom PIL import Image\nfrom tencrop.images.pillow_warnings import silence_libtiff"
    check += "\nif sys.argv[1:]: silence_libtiff()\nlzw = io.BytesIO(sys.stdin.buffer.read())"
    check += "\ntry: Image.open(lzw).load()\nexcept OSError: print('damaged')"
    image = encoded(Image.new("L", (64, 64)), "TIFF", compression="tiff_lzw")
    damaged = image[:8] + bytes(20) + image[28:]
    for options, said in (((), True), (("silent",), False)):
        command = [sys.executable, "-c", check, *options]
        done = subprocess.run(command, input=damaged, capture_output=True, check=True, timeout=60)
        assert (done.stdout, bool(done.stderr)) == (b"damaged\n", said), done.stderr


def test_a_command_installs_the_filters_when_it_starts() -> None:
    check = "import contextlib, sys, warnings; from tencrop import cli; before = [*warnings.filters]"
    check += "; sys.argv = ['tencrop', '--help']\nwith contextlib.suppress(SystemExit): cli.main()"
    check += "\nadded = [each for each in warnings.filters if each not in before]"
    check += "\nassert [each[0] for each in added] == ['error', 'ignore'], added"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60, stdout=subprocess.DEVNULL)
