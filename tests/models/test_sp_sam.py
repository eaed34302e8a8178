"""SP-SAM's way: masks of parts are nested in those of wholes, which are supervised too."""

from __future__ import annotations

import pytest
import torch
from related import build

from echozoo.errors import ConfigError
from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.models.layers.nesting import nested
from echozoo.models.losses.dice_ce import DiceCELoss
from echozoo.models.losses.part_whole import PartWholeLoss
from echozoo.models.prompts import Prompts


@pytest.fixture(scope="module")
def model():
    return build("sp_sam", "tiny")


@torch.no_grad()
def test_masks_are_nested(model):
    torch.manual_seed(0)
    features = model.encode(torch.rand(2, 3, 96, 96))
    sparse, dense, found = model.prompt_head.embed(features, Prompts())
    positions = model.prompt_head.dense_pe(features.size)
    whole, _ = SAMMaskDecoder.forward(
        model.decoder, features, positions, found.extra["whole_sparse"], found.extra["whole_dense"]
    )
    logits, quality = model.decode(features, Prompts())
    assert (logits.shape, quality.shape) == ((2, 3, 48, 48), (2, 3))
    lv, myo, la = (logits > 0).unbind(1)
    epi = whole[:, 0, 0]
    assert epi.std() > 0
    assert not (lv & myo).any()
    assert not ((lv | myo) & (epi <= 0)).any()
    p = logits.sigmoid()
    torch.testing.assert_close(p[:, 0] + p[:, 1], epi.sigmoid())  # LV + myocardium = epicardium
    alone, _ = SAMMaskDecoder.forward(model.decoder, features, positions, sparse, dense)
    torch.testing.assert_close(logits[:, 2], alone[:, 2, 0])  # the atrium is by itself


def test_logits_inside_a_whole_are_those_of_the_product():
    torch.manual_seed(0)
    parts, whole = 3 * torch.randn(3, 50, dtype=torch.float64), 3 * torch.randn(50).double()
    found = torch.stack(nested(parts, whole)).sigmoid()
    torch.testing.assert_close(found, whole.sigmoid() * parts.softmax(0))
    # Far from 0 too, with gradients.
    parts = torch.tensor([[90.0, -90.0], [0.0, 0.0]], requires_grad=True)
    whole = torch.tensor([80.0, -80.0], requires_grad=True)
    found = torch.stack(nested(parts.unbind(0), whole))
    assert found[0, 0] > 70
    assert (found[:, 1] < -70).all()
    found.sum().backward()
    assert parts.grad.isfinite().all()
    assert whole.grad.isfinite().all()


def test_the_loss_sees_the_whole():
    torch.manual_seed(0)
    p = torch.rand(2, 3, 6, 6) * torch.tensor([0.5, 0.5, 1.0])[:, None, None]
    masks = torch.zeros(2, 3, 6, 6)
    masks[:, 0, 1:3], masks[:, 1, 3:5], masks[:, 2, :, :2] = 1, 1, 1
    found = PartWholeLoss(whole_weight=2.0)(p.logit(), masks)
    plain = DiceCELoss()
    epi = plain((p[:, :1] + p[:, 1:2]).logit(), masks[:, :1] + masks[:, 1:2])
    wanted = plain(p.logit(), masks)
    wanted |= {"loss_whole_dice": 2 * epi["loss_dice"], "loss_whole_ce": 2 * epi["loss_ce"]}
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value)
    # A whole of which a part is not labelled is not known.
    labelled = torch.tensor([[True, False, True]] * 2)
    unknown = PartWholeLoss()(p.logit(), masks, labelled)
    assert unknown["loss_whole_dice"] == unknown["loss_whole_ce"] == 0


@torch.no_grad()
def test_clicks_have_no_wholes(model):
    features = model.encode(torch.rand(1, 3, 96, 96))
    prompts = Prompts(points=torch.full((1, 3, 1, 2), 40.0), labels=torch.ones(1, 3, 1))
    sparse, dense, _ = model.prompt_head.embed(features, prompts)
    positions = model.prompt_head.dense_pe(features.size)
    wanted, _ = SAMMaskDecoder.forward(model.decoder, features, positions, sparse, dense)
    torch.testing.assert_close(model.decode(features, prompts)[0], wanted[:, :, 0])


@pytest.mark.parametrize("wholes", [((0,),), ((0, 3),), ((0, 1), (1, 2))])
def test_wholes_that_are_none(wholes):
    with pytest.raises(ConfigError, match="wants two or more of the 3 structures"):
        build("sp_sam", "tiny", **{"prompt_head.wholes": wholes})


def test_wholes_that_differ():
    model = build("sp_sam", "tiny", **{"decoder.wholes": ((1, 2), (0, 3))})
    with pytest.raises(ConfigError, match="wants two or more of the 3 structures"):
        model(torch.rand(1, 1, 3, 96, 96))
    model.decoder.wholes = ()
    with pytest.raises(ConfigError, match="prompts of 1 wholes, wants 0"):
        model(torch.rand(1, 1, 3, 96, 96))
    with pytest.raises(ConfigError, match="wants two or more of the 1 structures"):
        PartWholeLoss()(torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4))
