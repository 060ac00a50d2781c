"""What limits measure is measured by another process, and comes to the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar, cast

import pytest
from stepedit_bench.measuring import StandardMeasures
from stepedit_serve.measuring import MeasuringElsewhere
from stepedit_serve.working import Workers

from stepedit_core import get_registry, packaged_speech
from stepedit_core.scoring import Measures

P = ParamSpec("P")
T = TypeVar("T")


class Counted(Workers):
    """Counts what is asked of it."""

    asked = 0

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.asked += 1
        return super().call(function, *args, **kwargs)


@pytest.fixture(scope="module")
def workers() -> Iterator[Counted]:
    found = Counted(1)
    yield found
    found.close()


@pytest.fixture
def elsewhere(workers: Counted) -> Iterator[Measures]:
    workers.asked = 0
    plugin, registry = MeasuringElsewhere(workers), get_registry()
    registry.register(plugin, "measuring_elsewhere")
    yield registry.hook.stepedit_measures()
    registry.manager.unregister(plugin)


def test_they_come_to_the_same_and_are_made_once(elsewhere: Measures, workers: Counted) -> None:
    speech = packaged_speech("garden")
    here = StandardMeasures().median_f0(speech)
    assert here is not None
    assert [elsewhere.median_f0(speech) for _ in range(3)] == [here] * 3
    assert workers.asked == 1


def test_measurements_of_a_plugin_file_stay_here(workers: Counted) -> None:
    class Own:
        __module__ = "of_a_file"

        def median_f0(self, utterance: object) -> float:
            return 1.0

    own = cast(Measures, Own())
    wrapping = MeasuringElsewhere(workers).stepedit_measures()
    next(wrapping)
    with pytest.raises(StopIteration) as ended:
        wrapping.send(own)
    assert ended.value.value is own
