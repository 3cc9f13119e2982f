"""coremltools without its chatter: notices about known versions, progress bars, other libraries' deprecations.

Errors pass untouched. Everything of the stage that needs coremltools takes it from here, so that it is loaded quietly.
"""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# At import it warns that parts which only macOS has are absent and that our torch is newer than the ones it was tested with.
logging.getLogger("coremltools").setLevel(logging.ERROR)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import coremltools
    from coremltools.converters.mil import Builder, register_torch_op
    from coremltools.converters.mil.frontend.torch import ops as torch_frontend
    from coremltools.converters.mil.mil.passes import pass_pipeline
    from coremltools.converters.mil.mil.passes.defs.quantization import add_fp16_cast
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.converters.mil.mil.passes.helper import block_context_manager
    from coremltools.converters.mil.mil.passes.pass_registry import register_pass
    from coremltools.proto import FeatureTypes_pb2, MIL_pb2, Model_pb2

__all__ = [
    "AbstractGraphPass",
    "Builder",
    "FeatureTypes_pb2",
    "MIL_pb2",
    "Model_pb2",
    "add_fp16_cast",
    "block_context_manager",
    "coremltools",
    "quietly",
    "register_pass",
    "register_torch_op",
]


@contextmanager
def quietly() -> Iterator[None]:
    """Within it coremltools converts without progress bars and without the garbage collector walking its large graphs."""
    bars = [(module, name, getattr(module, name)) for module, name in ((torch_frontend, "_tqdm"), (pass_pipeline, "tqdm"))]
    for module, name, _ in bars:
        setattr(module, name, _no_bar)
    try:
        with warnings.catch_warnings(), _uncollected():
            # What coremltools and torch use of themselves although it is deprecated, and folders they leave to the collector.
            for category in (DeprecationWarning, FutureWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        for module, name, bar in bars:
            setattr(module, name, bar)


@contextmanager
def _uncollected() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.collect()
        if was_enabled:
            gc.enable()


def _no_bar(iterable: Any = None, **_options: Any) -> Any:
    return iterable
