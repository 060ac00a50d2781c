"""Middleware: implementations of ``stepedit_apply`` around each other, and who of them acted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pluggy

from stepedit_core.errors import PluginError
from stepedit_core.registry.checks import PluginInfo

if TYPE_CHECKING:
    import numpy as np

    from stepedit_core.edit import Outcome
    from stepedit_core.registry.registry import Registry
    from stepedit_core.utterance import Utterance

__all__ = ["Acted", "Layers"]

Terminal = Callable[["Utterance", "np.random.Generator"], "Outcome"]


@dataclass(frozen=True)
class Acted:
    """Record of one plugin's ``stepedit_apply`` around a step.

    Attributes:
        plugin: name of the plugin.
        calls: how often it called the rest; 0 means that it answered by itself.
        replaced: whether its outcome is another one than the rest gave.
    """

    plugin: str
    calls: int
    replaced: bool


class Layers:
    """One step's implementations of ``stepedit_apply``, from the outermost to core's own.

    An implementation that names ``proceed`` among its arguments calls the rest by it, as often as
    it likes. Without ``proceed`` it answers or declines with None, and pluggy's wrappers, which
    yield once, work as they do in pluggy.
    """

    def __init__(
        self,
        registry: Registry,
        implementations: Sequence[pluggy.HookImpl],
        terminal: Terminal,
        arguments: Mapping[str, Any],
    ) -> None:
        """Put the layers together.

        Args:
            registry: whose plugins take part.
            implementations: of ``stepedit_apply``, as pluggy orders them: the outermost last.
            terminal: core's own way to carry out the edit.
            arguments: of the hook, without ``utterance``, ``rng`` and ``proceed``.
        """
        self._layers: Sequence[pluggy.HookImpl] = implementations[::-1]
        self._registry, self._terminal, self._arguments = registry, terminal, arguments
        self._blamed: list[tuple[BaseException, PluginInfo | None]] = []
        self.acted: list[Acted] = []

    def blamed(self, error: BaseException) -> PluginInfo | None:
        """Return the plugin whose middleware raised an error, or None where the edit did."""
        return next((info for one, info in self._blamed if one is error), None)

    def run(self, utterance: Utterance, rng: np.random.Generator, at: int = 0) -> Any:
        """Carry out the edit from a layer inwards; raises what the layers raise."""
        info = self._registry.info(self._layers[at].plugin_name) if at < len(self._layers) else None
        try:
            if at == len(self._layers):
                return self._terminal(utterance, rng)
            return self._layer(at, utterance, rng)
        except (Exception, SystemExit) as error:
            if not any(one is error for one, _ in self._blamed):
                self._blamed.append((error, info))
            raise

    def _layer(self, at: int, utterance: Utterance, rng: np.random.Generator) -> Any:
        """Call one implementation."""
        layer = self._layers[at]
        given: list[Any] = []

        def proceed(utterance: Utterance = utterance, rng: np.random.Generator = rng) -> Outcome:
            outcome: Outcome = self.run(utterance, rng, at + 1)
            given.append(outcome)
            return outcome

        values = {**self._arguments, "utterance": utterance, "rng": rng, "proceed": proceed}
        arguments = [values[name] for name in layer.argnames]
        if layer.wrapper or layer.hookwrapper:
            outcome = _wrapped(layer, cast(Any, layer.function(*arguments)), proceed)
        else:
            outcome = layer.function(*arguments)
        if outcome is None and not given:
            return self.run(utterance, rng, at + 1)
        replaced = not any(outcome is one for one in given)
        if replaced or len(given) != 1:
            self.acted.append(Acted(layer.plugin_name, len(given), replaced))
        return outcome


def _wrapped(
    layer: pluggy.HookImpl, wrapper: Generator[None, Any, Any], proceed: Callable[[], Any]
) -> Any:
    """Run a wrapper of pluggy's kind, old or new, around the rest."""
    try:
        next(wrapper)
    except StopIteration:
        raise PluginError(
            f"{layer.plugin_name}: the wrapper of stepedit_apply did not yield"
        ) from None
    result = pluggy.Result.from_call(proceed)
    try:
        if layer.hookwrapper:
            wrapper.send(result)
        elif result.exception is not None:
            wrapper.throw(result.exception)
        else:
            wrapper.send(result.get_result())
    except StopIteration as stop:
        return result.get_result() if layer.hookwrapper else stop.value
    wrapper.close()
    raise PluginError(f"{layer.plugin_name}: the wrapper of stepedit_apply yields twice")
