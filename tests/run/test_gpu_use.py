"""Figures of graphics processors: read where there are any, absent everywhere else."""

from __future__ import annotations

from types import SimpleNamespace

from kd.run.gpu_use import GpuReader, GpuUse, nvml


class FakeNvml:
    """A driver of two processors, which can be taken away."""

    class NVMLError(Exception):
        """What the driver says when it cannot."""

    def __init__(self, *, has_driver: bool = True) -> None:
        self.has_driver = has_driver

    def nvmlInit(self) -> None:
        self._ask()

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUtilizationRates(self, device: int) -> SimpleNamespace:
        self._ask()
        return SimpleNamespace(gpu=(90, 30)[device])

    def nvmlDeviceGetMemoryInfo(self, device: int) -> SimpleNamespace:
        return SimpleNamespace(used=1000 * (device + 1))

    def _ask(self) -> None:
        if not self.has_driver:
            raise self.NVMLError


def test_all_processors_are_one_figure() -> None:
    """Work is averaged over the processors, memory is added up."""
    assert GpuReader(FakeNvml()).read() == GpuUse(fraction=0.6, num_bytes=3000)


def test_without_library_or_driver_there_is_no_figure() -> None:
    """Nothing is made up where nothing can be asked."""
    assert GpuReader(None).read() is None
    assert GpuReader(FakeNvml(has_driver=False)).read() is None


def test_a_driver_that_goes_away_ends_the_figures() -> None:
    """A driver that fails once is not asked again: the run goes on without figures."""
    driver = FakeNvml()
    reader = GpuReader(driver)
    driver.has_driver = False
    assert reader.read() is None
    driver.has_driver = True
    assert reader.read() is None


def test_the_library_is_optional() -> None:
    """Asking for the library never fails."""
    assert nvml() is None or hasattr(nvml(), "nvmlInit")
