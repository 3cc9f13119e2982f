"""What the machine's NVIDIA graphics processors do, where the package nvidia-ml-py and a driver are there."""

from __future__ import annotations

from typing import Any

from attrs import frozen

try:
    import pynvml
except ImportError:
    pynvml = None

__all__ = ["GpuReader", "GpuUse", "nvml"]


@frozen(kw_only=True)
class GpuUse:
    """All graphics processors at one moment."""

    fraction: float
    """Share of the last moments in which a kernel ran, averaged over the processors."""
    num_bytes: int
    """Memory in use, by whatever process."""


def nvml() -> Any | None:
    """The driver's library, or None where it is not installed."""
    return pynvml


class GpuReader:
    """Asks the driver; once it has failed, or if there is nothing to ask, every answer is None."""

    def __init__(self, library: Any | None) -> None:
        self._library = library
        self._devices: list[Any] = []
        if library is not None:
            try:
                library.nvmlInit()
                self._devices = [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]
            except library.NVMLError:
                self._devices = []

    def read(self) -> GpuUse | None:
        """What they do now."""
        if not self._devices or self._library is None:
            return None
        try:
            busy = [self._library.nvmlDeviceGetUtilizationRates(device).gpu for device in self._devices]
            used = [self._library.nvmlDeviceGetMemoryInfo(device).used for device in self._devices]
        except self._library.NVMLError:
            self._devices = []
            return None
        return GpuUse(fraction=sum(busy) / len(busy) / 100, num_bytes=sum(used))
