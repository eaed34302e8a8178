from __future__ import annotations

import pytest

from echozoo.benchmark import timing
from echozoo.benchmark.timing import Ratio, Timing, alternate, ratio


def test_statistics_of_known_times():
    known = Timing((4.0, 1.0, 3.0, 2.0, 10.0))
    assert known.median == 3
    assert known.quartiles == (2, 4)
    assert known.extremes == (1, 10)


def test_ratio_of_medians_and_of_the_pairs_of_each_round():
    slower, faster = Timing((4.0, 6.0, 8.0)), Timing((2.0, 2.0, 8.0))
    assert ratio(slower, faster) == Ratio(medians=3, low=1, high=3)


def test_one_side_with_fewer_rounds_is_no_pair():
    with pytest.raises(ValueError, match="shorter"):
        ratio(Timing((1.0, 2.0)), Timing((1.0,)))


def test_sides_take_turns_and_warmup_does_not_count(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def side(name: str, seconds: list[float]):
        def run() -> None:
            calls.append(name)
            clock[0] += seconds.pop(0)

        return run

    runs = {"a": side("a", [100.0, 1.0, 2.0]), "b": side("b", [100.0, 3.0, 5.0])}
    timings = alternate(runs, repeats=2, warmup=1)
    assert calls == ["a", "b"] * 3
    assert timings == {"a": Timing((1.0, 2.0)), "b": Timing((3.0, 5.0))}
