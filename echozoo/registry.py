"""Every registry of echozoo, in one place.

Each registry extends mmseg's of the same kind, which extends mmengine's, so that parts of all
three are named in a config without a prefix. Temporal modules, prompt heads, adapters, memories and
post-processing are kinds that mmseg does not have: they are roots of their own.

A new part is one file in the folder of its kind, with one decorator. A registry imports the files
of its folders when the first part is looked up in it, and not before: opening a film, or reading a
name from this package, loads no network and nothing of mmseg.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from mmengine.registry import Registry
from mmseg import registry as upstream


def import_parts(package: str) -> None:
    """Import every module below a package, so that the decorators in them have run."""
    path = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(path, prefix=f"{package}."):
        importlib.import_module(module.name)


class PartRegistry(Registry):
    """A registry whose locations are folders, all files of which are imported."""

    def import_from_location(self) -> None:
        """Import the files of the locations, once."""
        if self._imported:
            return
        self._imported = True  # a part may look others up while it is imported
        if self.parent is not None:
            # A registry searches its parents but never runs their imports.
            importlib.import_module("echozoo.upstream")
        for package in self._locations:
            import_parts(package)


def parameters_of(part: type) -> set[str] | None:
    """Return the keyword arguments that a class takes, or None where it takes any.

    A constructor with ``**kwargs`` is taken to hand them to its base class.
    """
    names: set[str] = set()
    owners = [cls for cls in inspect.getmro(part)[:-1] if "__init__" in vars(cls)]
    for cls in owners:
        parameters = inspect.signature(cls.__init__).parameters.values()
        names |= {p.name for p in parameters} - {"self"}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names
    return None if owners else set()


def _extend(parent: Registry, *packages: str) -> Registry:
    return PartRegistry(parent.name, parent=parent, scope="echozoo", locations=list(packages))


def _root(kind: str, *packages: str) -> Registry:
    return PartRegistry(kind, scope="echozoo", locations=list(packages))


# Parts that echozoo declares.
MODELS = _extend(upstream.MODELS, "echozoo.models")
DATASETS = _extend(upstream.DATASETS, "echozoo.datasets")
TRANSFORMS = _extend(upstream.TRANSFORMS, "echozoo.datasets.transforms")
METRICS = _extend(upstream.METRICS, "echozoo.evaluation.metrics")
HOOKS = _extend(upstream.HOOKS, "echozoo.engine")
RUNNERS = _extend(upstream.RUNNERS, "echozoo.engine")
OPTIM_WRAPPERS = _extend(upstream.OPTIM_WRAPPERS, "echozoo.engine")
OPTIM_WRAPPER_CONSTRUCTORS = _extend(upstream.OPTIM_WRAPPER_CONSTRUCTORS, "echozoo.engine")
TEMPORAL_MODULES = _root("temporal module", "echozoo.models.temporal")
PROMPT_HEADS = _root("prompt head", "echozoo.models.prompt_heads")
ADAPTERS = _root("adapter", "echozoo.models.passes")
MEMORIES = _root("memory", "echozoo.models.memories")
POSTPROCESSING = _root("post-processing", "echozoo.postprocessing", "echozoo.models.shapes")

# Kinds that echozoo uses as they are: without a node here, mmengine warns that it finds none.
RUNNER_CONSTRUCTORS = _extend(upstream.RUNNER_CONSTRUCTORS)
LOOPS = _extend(upstream.LOOPS)
DATA_SAMPLERS = _extend(upstream.DATA_SAMPLERS)
MODEL_WRAPPERS = _extend(upstream.MODEL_WRAPPERS)
WEIGHT_INITIALIZERS = _extend(upstream.WEIGHT_INITIALIZERS)
OPTIMIZERS = _extend(upstream.OPTIMIZERS)
PARAM_SCHEDULERS = _extend(upstream.PARAM_SCHEDULERS)
EVALUATOR = _extend(upstream.EVALUATOR)
TASK_UTILS = _extend(upstream.TASK_UTILS)
VISUALIZERS = _extend(upstream.VISUALIZERS)
VISBACKENDS = _extend(upstream.VISBACKENDS)
LOG_PROCESSORS = _extend(upstream.LOG_PROCESSORS)
INFERENCERS = _extend(upstream.INFERENCERS)
