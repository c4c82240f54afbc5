"""Admission: places are bounded, refused with 429 beyond the bound, and come back."""

import pytest

from tencrop.server.admission import Admission
from tencrop.server.errors import ApiError
from tencrop.server.metrics import Metrics


def test_full_house_is_refused_with_retry_after_and_places_come_back() -> None:
    admission = Admission("echo", 2, Metrics())
    with admission.admit():
        with admission.admit(), pytest.raises(ApiError) as refused, admission.admit():
            pass
        with admission.admit():
            pass
    assert refused.value.status_code == 429 and refused.value.headers == {"Retry-After": "1"}


def test_images_of_one_request_are_admitted_together_or_not_at_all() -> None:
    admission = Admission("echo", 3, Metrics())
    with admission.admit(2):
        with pytest.raises(ApiError), admission.admit(2):
            pass
        assert admission.admitted == 2
        admission.check_room(1)
        admission.check_room(0)
    assert admission.admitted == 0


def test_places_come_back_after_an_error() -> None:
    admission = Admission("echo", 1, Metrics())
    with pytest.raises(ZeroDivisionError), admission.admit():
        _ = 1 / 0
    admission.check_room(1)


def test_metrics_show_how_many_images_are_admitted() -> None:
    metrics = Metrics()
    with Admission("echo", 8, metrics).admit(5):
        assert metrics.get_value("admitted_images", "echo") == 5
