"""Masks carried by a memory: in one state, both ways, with all that a person has marked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from film_files import moving_disc
from mmengine.registry import init_default_scope

from echozoo.apis import load_model
from echozoo.apis.predicting import label_film
from echozoo.apis.remembering import carry_by_memory, remembers
from echozoo.apis.session import ClickSession
from echozoo.engine.config_file import load_config
from echozoo.engine.scales import apply_scale
from echozoo.errors import ConfigError
from echozoo.films.film import open_film
from echozoo.registry import MODELS

FRAMES, MIDDLE = 9, 4


def tiny(name: str, folder, gain: float = 1.0):
    """A tiny model with a memory and random weights, by which there is something to see."""
    cfg = load_config(f"configs/{name}.py")
    apply_scale(cfg, "tiny")
    if cfg.model.memory.type == "SpaceTimeMemory":
        cfg.model.memory.every = 2
    if "long_term" in cfg.model.memory:
        cfg.model.memory.long_term.update(longest=4, shortest=2, prototypes=16, most=64)
    cfg.dump(folder / "tiny.py")
    init_default_scope("echozoo")
    torch.manual_seed(1)
    weights = MODELS.build(cfg.model).state_dict()
    if "decoder.pred.bias" in weights:
        weights["decoder.pred.bias"] += 0.337
        weights["decoder.pred.weight"] *= gain
    torch.save({"state_dict": weights}, folder / "epoch_1.pth")
    return load_model(folder / "tiny.py", folder / "epoch_1.pth", device="cpu")


@pytest.fixture(scope="module", params=["memsam", "xmem"])
def loaded(request, tmp_path_factory):
    return tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def automatic(tmp_path_factory):
    return tiny("gdkvm", tmp_path_factory.mktemp("gdkvm"), gain=30.0)


@pytest.fixture(scope="module")
def film():
    return open_film(moving_disc(FRAMES, (60, 80)))


def square(row: int, size: int = 24) -> dict[str, np.ndarray]:
    masks = {name: np.zeros((60, 80), bool) for name in ("lv", "la")}
    masks["lv"][row : row + size, 10 : 10 + size] = True
    masks["la"][row : row + size, 45 : 45 + size] = True
    return masks


def carried(loaded, film, known, batch_size=3, frame=MIDDLE) -> dict[int, np.ndarray]:
    return dict(carry_by_memory(loaded, film, frame, known, batch_size))


def test_every_frame_comes_once_and_the_given_one_as_it_is(loaded, film):
    assert remembers(loaded)
    order = [index for index, _ in carry_by_memory(loaded, film, MIDDLE, {MIDDLE: square(10)})]
    assert order == [4, 5, 6, 7, 8, 3, 2, 1, 0]
    found = carried(loaded, film, {MIDDLE: square(10)})
    np.testing.assert_array_equal(found[MIDDLE] == 1, square(10)["lv"])
    np.testing.assert_array_equal(found[MIDDLE] == 3, square(10)["la"])


def test_a_film_has_no_seams(loaded, film):
    """Whatever frames go through the encoder together, the state is one."""
    whole = carried(loaded, film, {MIDDLE: square(10)}, batch_size=9)
    cut = carried(loaded, film, {MIDDLE: square(10)}, batch_size=1)
    for index, labels in whole.items():
        assert (labels != cut[index]).mean() < 1e-3, index


def test_both_ways_are_alike(loaded, film):
    back = open_film(film.frames()[::-1].copy())
    there = carried(loaded, film, {MIDDLE: square(10)})
    again = carried(loaded, back, {MIDDLE: square(10)})
    for index, labels in there.items():
        np.testing.assert_array_equal(labels, again[FRAMES - 1 - index])


def test_a_marked_frame_acts_on_earlier_and_on_later_ones(loaded, film, monkeypatch):
    seen, to_native = [], loaded.to_native
    monkeypatch.setattr(
        loaded, "to_native", lambda low, meta: (seen.append(low), to_native(low, meta))[1]
    )
    alone = carried(loaded, film, {MIDDLE: square(10)})
    marked = carried(loaded, film, {MIDDLE: square(10), 8: square(30)})
    np.testing.assert_array_equal(marked[8] == 1, square(30)["lv"])
    logits = torch.cat(seen).unflatten(0, (2, FRAMES - 1))  # of both runs: 5 to 8, 3 to 0
    changed = (logits[0] - logits[1]).abs().flatten(1).amax(1) > 1e-6
    assert changed[:3].all(), "between the two"
    assert changed[4:].all(), "before both"
    # One that lacks a structure says nothing of it, and is not asked.
    part = {MIDDLE: square(10), 8: {"lv": square(30)["lv"]}}
    unchanged = carried(loaded, film, part)
    assert all((unchanged[index] == alone[index]).all() for index in alone)


def test_a_session_carries_by_memory_and_looks_at_other_marked_frames(loaded, film):
    session = ClickSession(loaded, film)
    found = dict(session.carry(MIDDLE, square(10), others={8: square(30)}))
    wanted = carried(loaded, film, {MIDDLE: square(10), 8: square(30)}, session._step)
    assert all((found[index] == wanted[index]).all() for index in wanted)


def test_what_is_encoded_is_not_encoded_again(loaded, film, monkeypatch):
    session, passes, encode = ClickSession(loaded, film), [], loaded.encode
    wanted = dict(session.carry(MIDDLE, square(10)))
    while session.look_ahead(MIDDLE):
        pass
    monkeypatch.setattr(loaded, "encode", lambda *given: (passes.append(1), encode(*given))[1])
    found = dict(session.carry(MIDDLE, square(10)))
    assert not passes
    assert all((found[index] != wanted[index]).mean() < 1e-3 for index in wanted)


def test_a_part_of_the_film_is_carried_with_all_that_is_known(loaded, film):
    known = {MIDDLE: square(10), 8: square(30)}
    whole = carried(loaded, film, known)
    reach = range(MIDDLE, 7)
    part = dict(carry_by_memory(loaded, film, MIDDLE, known, 3, reach))
    assert sorted(part) == list(reach)
    assert all((labels != whole[index]).mean() < 1e-3 for index, labels in part.items())


def test_nothing_to_carry_is_refused(loaded, film):
    empty = {name: np.zeros((60, 80), bool) for name in ("lv", "la")}
    with pytest.raises(ConfigError, match="no mask to carry"):
        carried(loaded, film, {MIDDLE: empty})
    with pytest.raises(ConfigError, match="frame 9 wanted"):
        carried(loaded, film, {9: square(10)}, frame=9)


def test_memory_is_bounded_in_a_long_film(loaded):
    """The state after 200 frames is no larger than after 100."""
    sizes, stream = [], loaded.model.stream

    def watched(*args, **kwargs):
        logits, state = stream(*args, **kwargs)
        sizes.append(sum(len(bank) for _, bank in state.banks()))
        return logits, state

    film = open_film(np.tile(moving_disc(20, (60, 80)), (10, 1, 1)))
    loaded.model.stream = watched
    try:
        list(carry_by_memory(loaded, film, 0, {0: square(10)}, 25))
    finally:
        del loaded.model.stream
    assert len(sizes) == 8
    assert max(sizes[4:]) <= max(sizes[:4])


def test_a_model_that_is_given_nothing_goes_through_a_film_in_one_piece(automatic, film):
    assert automatic.automatic
    cut = np.stack([labels for _, labels in label_film(automatic, film, batch_size=2)])
    numbers = automatic.predict(film.frames(0, FRAMES)).pred_labels.cpu().numpy()
    wanted = np.choose(numbers, (0, 1, 2, 3))
    assert len(np.unique(wanted)) > 1
    assert (cut != wanted).mean() < 1e-3


def test_it_takes_masks_of_a_person_all_the_same(automatic, film):
    found = carried(automatic, film, {MIDDLE: square(10)})
    other = carried(automatic, film, {MIDDLE: square(30)})
    assert any((found[index] != other[index]).any() for index in found if index != MIDDLE)
