"""Admission: places are bounded, refused with 429 beyond the bound, and come back."""

from contextlib import ExitStack

import pytest

from tencrop.server.admission import Admission
from tencrop.server.errors import ApiError
from tencrop.server.metrics import Metrics


def test_full_house_is_refused_with_retry_after_and_places_come_back() -> None:
    admission = Admission("echo", 2, Metrics())
    with admission.admit("one"):
        with admission.admit("one"), pytest.raises(ApiError) as refused, admission.admit("one"):
            pass
        with admission.admit("one"):
            pass
    assert refused.value.status_code == 429 and refused.value.headers == {"Retry-After": "1"}


def test_images_of_one_request_are_admitted_together_or_not_at_all() -> None:
    admission = Admission("echo", 3, Metrics())
    with admission.admit("one", 2):
        with pytest.raises(ApiError), admission.admit("one", 2):
            pass
        assert admission.admitted == 2
        admission.check_room("one", 1)
        admission.check_room("one", 0)
    assert admission.admitted == 0


def test_a_client_that_fills_the_places_leaves_some_to_modest_clients() -> None:
    admission = Admission("echo", 16, Metrics())
    with admission.admit("crowd", 16):
        for client in ("crowd", "late crowd"):
            with pytest.raises(ApiError), admission.admit(client, 3):
                pass
        with admission.admit("modest", 2):
            admission.check_room("other", 2)
            with pytest.raises(ApiError):
                admission.check_room("modest")
        admission.check_room("modest", 2)


def test_modest_clients_fill_twice_the_places_at_most() -> None:
    admission = Admission("echo", 16, Metrics())
    with ExitStack() as held:
        for number in range(16):
            held.enter_context(admission.admit(f"client {number}", 2))
        assert admission.admitted == 32
        with pytest.raises(ApiError):
            admission.check_room("late")
    assert not admission._held


def test_a_client_that_fills_the_places_with_expensive_images_has_some_for_cheap_ones() -> None:
    """Clients behind one address look like one client."""
    admission = Admission("echo", 16, Metrics())
    with admission.admit("address", 16, is_expensive=True):
        with pytest.raises(ApiError):
            admission.check_room("address", is_expensive=True)
        with admission.admit("address", 2), pytest.raises(ApiError):
            admission.check_room("address")


def test_places_come_back_after_an_error() -> None:
    admission = Admission("echo", 1, Metrics())
    with pytest.raises(ZeroDivisionError), admission.admit("one"):
        _ = 1 / 0
    admission.check_room("one", 1)


def test_metrics_show_how_many_images_are_admitted() -> None:
    metrics = Metrics()
    with Admission("echo", 8, metrics).admit("one", 5):
        assert metrics.get_value("admitted_images", "echo") == 5
