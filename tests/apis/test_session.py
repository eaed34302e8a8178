from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from film_files import moving_disc

from echozoo.apis.carrying import prompted_piece, same_structure
from echozoo.apis.loading import load_model
from echozoo.apis.model import Embedding, LoadedModel
from echozoo.apis.predicting import label_film
from echozoo.apis.prompt_files import FilmPrompts
from echozoo.apis.prompts import label_map, make_prompt, prompts_from_masks
from echozoo.apis.session import ClickSession
from echozoo.datasets.anatomy import label_values
from echozoo.errors import ConfigError
from echozoo.films.film import open_film
from echozoo.models.prompts import Features
from echozoo.postprocessing import Postprocessing

FILM = moving_disc(11, (40, 48))
DISC = FILM > 120


class Threshold:
    """Stands in for a trained network: its mask is what is bright, where the prompt is inside."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.passes, self.prompts, self.loaded = [], [], loaded
        loaded.encode, loaded.decode = self.encode, self.decode
        loaded.to_native = lambda logits, meta: logits

    def encode(self, frames, spacing=None):
        self.passes.append(len(frames))
        inputs, meta = self.loaded.prepare(frames, spacing)
        return Embedding(Features.of(torch.as_tensor(frames.astype(np.float32))[:, None]), meta)

    def decode(self, embedding, points=None, labels=None, boxes=None, masks=None, structures=()):
        self.prompts.append((points, labels, boxes, masks))
        count = len(structures)
        return (embedding.features.embedding - 120).expand(-1, count, -1, -1).clone()


@pytest.fixture
def loaded(clicked: Path) -> LoadedModel:
    return load_model(clicked, device="cpu")


def test_one_pass_a_frame_whatever_is_clicked(loaded: LoadedModel) -> None:
    network = Threshold(loaded)
    session = ClickSession(loaded, open_film(FILM))
    for structure in ("lv", "la", "lv"):
        mask = session.segment(3, structure, [(24, 20), (2, 2)], [1, 0])
        np.testing.assert_array_equal(mask, DISC[3])
    assert network.passes == [1]
    points, labels, boxes, _ = network.prompts[0]
    np.testing.assert_array_equal(points, [[[[24, 20], [2, 2]]]])
    np.testing.assert_array_equal(labels, [[[1, 0]]])
    assert boxes is None


def test_the_cache_is_bounded(loaded: LoadedModel) -> None:
    network = Threshold(loaded)
    session = ClickSession(loaded, open_film(FILM), cache_frames=2)
    for frame in (0, 1, 0, 2, 0, 1):
        session.segment(frame, "lv", [(24, 20)])
    assert network.passes == [1] * 4  # 0, 1, 2, and 1 again
    assert len(session._cache) == 2


def test_a_temporal_model_sees_clips(boxed: Path) -> None:
    loaded = load_model(boxed, device="cpu")
    network = Threshold(loaded)
    session = ClickSession(loaded, open_film(FILM))
    for frame in (10, 9, 5):
        session.segment(frame, "lv", box=(10, 10, 40, 30))
    assert network.passes == [4, 4]
    np.testing.assert_array_equal(session.embedding(10).features.embedding[0, 0], FILM[10])
    short = ClickSession(loaded, open_film(FILM[:3]))
    np.testing.assert_array_equal(short.embedding(2).features.embedding[0, 0], FILM[2])


def test_the_real_clip_of_a_temporal_model(boxed: Path) -> None:
    loaded = load_model(boxed, device="cpu")
    session = ClickSession(loaded, open_film(FILM))
    whole = loaded.encode(FILM[7:11]).features.embedding  # the last clip ends with the film
    torch.testing.assert_close(session.embedding(9).features.embedding, whole[2:3])


def test_a_frame_of_two_clips_is_the_same_whatever_was_clicked_before(boxed: Path) -> None:
    loaded = load_model(boxed, device="cpu")
    network = Threshold(loaded)

    def encode(frames, spacing=None):
        one = network.encode(frames, spacing)
        embedding = one.features.embedding + float(frames.mean())
        return Embedding(one.features.replaced(embedding), one.meta)  # neighbours leave a trace

    loaded.encode = encode
    first, other = (ClickSession(loaded, open_film(FILM)) for _ in range(2))
    wanted = first.embedding(7).features.embedding  # in the clips 4 to 7 and 7 to 10
    other.embedding(8)
    assert torch.equal(other.embedding(7).features.embedding, wanted)
    first.embedding(8)
    assert torch.equal(first.embedding(7).features.embedding, wanted)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((11, "lv", [(3, 3)]), "frame 11 wanted, it has 0 to 10"),
        ((-1, "lv", [(3, 3)]), "frame -1 wanted"),
        ((0, "rv", [(3, 3)]), "no structure 'rv' in this model; it knows lv, myo, la"),
        ((0, "lv", [(48, 3)]), r"\(48, 3\) for lv lies outside the image of 48 x 40"),
        ((0, "lv", [(3, -1)]), "outside the image"),
        ((0, "lv", [(float("nan"), 1)]), "outside the image"),
        ((0, "lv", []), "nothing given for lv"),
        ((0, "lv", [(3, 3)], [2]), "1 for the structure or 0"),
        ((0, "lv", [(3, 3)], [1, 0]), "wanted one label a point"),
        ((0, "lv", [(3, 3, 3)]), "pairs"),
        ((0, "lv", [], None, (1, 1, 9, 9)), "boxes given for lv, .* trained with points"),
    ],
)
def test_prompts_that_cannot_be(loaded: LoadedModel, arguments: tuple, reason: str) -> None:
    session = ClickSession(loaded, open_film(FILM))
    with pytest.raises(ConfigError, match=reason):
        session.segment(*arguments)


def test_an_automatic_model_is_corrected_by_clicks(correctable: Path) -> None:
    loaded = load_model(correctable, device="cpu")
    assert (loaded.automatic, loaded.understands) == (True, ("points", "boxes"))
    film = open_film(FILM)
    alone = dict(label_film(loaded, film))
    assert sorted(alone) == list(range(film.num_frames))
    session = ClickSession(loaded, film)
    empty = loaded.decode(session.embedding(2))[0]  # K, 4h, 4w
    native = loaded.to_native(empty[None], session.embedding(2).meta)[0]
    at_once = label_map(loaded, film, dict(zip(loaded.structures, native, strict=True)))
    np.testing.assert_array_equal(at_once, alone[2])
    click = session.segment(2, "lv", [(20, 20)])
    assert (click != session.segment(2, "lv", [(20, 20)], [0])).any()
    carried = dict(label_film(loaded, film, [FilmPrompts(2, {"lv": make_prompt([(20, 20)])})]))
    np.testing.assert_array_equal(carried[2] == label_values(["lv"])[1], click)


def test_models_without_prompts_have_no_sessions(unet: Path) -> None:
    with pytest.raises(ConfigError, match="takes no prompts"):
        ClickSession(load_model(unet, device="cpu"), open_film(FILM))


@pytest.mark.parametrize("start", [0, 4, 10])
def test_carry_goes_through_the_film_both_ways(loaded: LoadedModel, start: int) -> None:
    network = Threshold(loaded)
    session = ClickSession(loaded, open_film(FILM))
    order = [start, *range(start + 1, 11), *range(start - 1, -1, -1)]
    for wanted, (index, labels) in zip(
        order, session.carry(start, {"la": DISC[start]}), strict=True
    ):
        assert index == wanted
        np.testing.assert_array_equal(labels, 3 * DISC[index])
    for points, labels, _, _ in network.prompts:
        (x, y), value = points[0, 0, 0].astype(int), labels[0, 0, 0]
        assert value == 1
        assert any(disc[y, x] for disc in DISC)


def test_carry_encodes_a_clip_once(boxed: Path) -> None:
    loaded = load_model(boxed, device="cpu")
    network = Threshold(loaded)
    session = ClickSession(loaded, open_film(FILM), cache_frames=1)
    carried = session.carry(6, {"lv": DISC[6]})
    assert [index for index, _ in carried] == [*range(6, 11), *range(5, -1, -1)]
    assert network.passes == [4, 4, 4]


def test_carry_holds_on_to_what_is_lost(loaded: LoadedModel) -> None:
    network = Threshold(loaded)
    film = FILM.copy()
    film[5] = 0
    labels = dict(ClickSession(loaded, open_film(film)).carry(3, {"lv": DISC[3]}))
    assert not labels[5].any()
    np.testing.assert_array_equal(labels[6], DISC[6])
    # Frames 4 to 10 are prompted in turn; 6 is prompted by the mask of 4 again.
    np.testing.assert_array_equal(network.prompts[2][0], network.prompts[1][0])


def test_carry_takes_the_piece_that_was_clicked(loaded: LoadedModel) -> None:
    network = Threshold(loaded)
    session = ClickSession(loaded, open_film(FILM))
    mask = DISC[3].copy()
    mask[:4, :4] = True  # a smaller piece, which is the one that was clicked
    for prompts, clicked in (({"lv": make_prompt([(1, 1)])}, True), (None, False)):
        network.prompts.clear()
        labels = dict(session.carry(3, {"lv": mask}, prompts))
        np.testing.assert_array_equal(labels[3], mask)  # the frame itself stays as it was
        x, y = network.prompts[0][0][0, 0, 0]
        assert (x < 4 and y < 4) == clicked


def test_a_marked_frame_is_kept_and_carried_half_the_way(loaded: LoadedModel) -> None:
    """Between 2 and 7, frames 3 and 4 come from the first, 5 and 6 from the second."""
    network = Threshold(loaded)
    session = ClickSession(loaded, open_film(FILM))
    drawn = np.zeros((40, 48), bool)
    drawn[:6, :6] = True  # another place than the disc: it shows whom a frame was prompted by
    network.decode = loaded.decode = lambda embedding, points, **_: (
        network.prompts.append(points[0, 0, 0].tolist()),
        torch.full((1, 1, 40, 48), -1.0),  # nothing is found: each frame is prompted anew
    )[1]
    carried = session.carry(2, {"lv": DISC[2]}, others={7: {"lv": drawn}, 9: {"la": drawn}})
    order, maps = zip(*carried, strict=True)
    assert order == (2, 3, 4, 1, 0, 7, 8, 9, 10, 6, 5)
    np.testing.assert_array_equal(maps[order.index(7)], drawn)
    prompted = [index for index in order if index not in (2, 7)]
    far = [index for index, (x, _) in zip(prompted, network.prompts, strict=True) if x < 6]
    assert far == [8, 9, 10, 6, 5]


@pytest.mark.parametrize("reach", [range(3, 7), range(3, 4), range(11)])
def test_carry_goes_no_further_than_it_is_to(loaded: LoadedModel, reach: range) -> None:
    Threshold(loaded)
    session = ClickSession(loaded, open_film(FILM))
    carried = dict(session.carry(3, {"lv": DISC[3]}, others={5: {"lv": DISC[5]}}, reach=reach))
    assert sorted(carried) == list(reach)
    for wrong in (range(4, 7), range(2, 12)):
        with pytest.raises(ConfigError, match="wanted, of range"):
            next(session.carry(3, {"lv": DISC[3]}, reach=wrong))


@pytest.mark.parametrize(("kind", "cache"), [("clicked", 4), ("clicked", 48), ("boxed", 48)])
def test_what_is_encoded_ahead_is_not_encoded_again(request, kind: str, cache: int) -> None:
    loaded = load_model(request.getfixturevalue(kind), device="cpu")
    network = Threshold(loaded)
    session = ClickSession(loaded, open_film(FILM), cache_frames=cache)
    looks = 0
    while session.look_ahead(8):
        looks += 1
        assert looks <= len(FILM)
    passes = list(network.passes)
    prompts = {
        "lv": make_prompt((), None, (10, 10, 40, 30))
        if kind == "boxed"
        else make_prompt([(24, 20)])
    }
    for frame in range(11) if cache == 48 else (6, 7, 8, 9):
        session.segment_all(frame, prompts)
    assert network.passes == passes
    session.forget()
    session.segment_all(8, prompts)
    assert len(network.passes) == len(passes) + 1


def test_carry_of_nothing(loaded: LoadedModel) -> None:
    session = ClickSession(loaded, open_film(FILM))
    with pytest.raises(ConfigError, match="no mask to carry"):
        next(session.carry(0, {"lv": np.zeros((40, 48), bool)}))
    with pytest.raises(ConfigError, match="mask 'lv' of"):
        next(session.carry(0, {"lv": np.zeros((4, 4), bool)}))
    with pytest.raises(ConfigError, match="frame 99"):
        next(session.carry(99, {"lv": DISC[0]}))


def test_masks_as_prompts() -> None:
    mask = np.zeros((30, 40), bool)
    mask[5:15, 8:29] = True
    prompts = prompts_from_masks(
        {"lv": mask, "la": np.zeros_like(mask)}, ("points", "boxes", "masks"), margin=0.1
    )
    assert list(prompts) == ["lv"]
    x, y = prompts["lv"].points[0]
    assert mask[int(y), int(x)]
    assert y in (9, 10)
    np.testing.assert_allclose(prompts["lv"].box, [8 - 2.5, 5 - 1.4, 28 + 2.5, 14 + 1.4])
    assert prompts["lv"].mask is mask
    pixel = np.zeros_like(mask)
    pixel[0, 0] = True
    assert (
        np.diff(prompts_from_masks({"lv": pixel}, ("boxes",))["lv"].box.reshape(2, 2), axis=0) > 0
    ).all()


def test_pieces_of_a_mask() -> None:
    mask = np.zeros((20, 20), bool)
    mask[1:4, 1:4] = mask[10:19, 10:19] = True
    before = np.zeros_like(mask)
    before[2:8, 2:8] = True
    assert same_structure(mask, before).sum() == 9
    assert same_structure(mask, ~mask).sum() == 0
    prompt = prompts_from_masks({"lv": before & mask}, ("points",))["lv"]
    assert prompted_piece(mask, prompt).sum() == 9


def test_postprocessing_of_the_config_is_done(loaded: LoadedModel) -> None:
    Threshold(loaded)
    film = FILM.copy()
    film[0, :3, :3] = 255
    loaded.model.postprocessing = Postprocessing([dict(type="LargestComponent")])
    mask = ClickSession(loaded, open_film(film)).segment(0, "lv", [(24, 20)])
    np.testing.assert_array_equal(mask, DISC[0])
