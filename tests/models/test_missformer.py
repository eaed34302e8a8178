"""MISSFormer at both sizes against recordings of its published code."""

from __future__ import annotations

import pytest
import torch
from related import Recording, build, counts

from echozoo.errors import ConfigError
from echozoo.models import load_published


@pytest.mark.parametrize(("system", "size"), [("missformer", 224), ("missformer_256", 256)])
@torch.no_grad()
def test_is_the_published_network(shared, system, size):
    recording, model = Recording(shared, system), build("missformer")
    report = load_published(model, recording.weights)
    assert report.left == ()
    assert len(report.loaded) == len(recording.weights) - len(recording.arrays["dead"])
    images = 2 * recording.wave(1, 1, size, size) - 1
    encoded, bridged = model.backbone.encode(images), model.backbone(images)
    recording.check("encoder_1", encoded[0][:, ::8, ::7, ::7])
    recording.check("encoder_4", encoded[3][:, ::16])
    for number, (channels, step) in enumerate(((8, 7), (16, 3), (32, 1), (32, 1)), 1):
        thin = bridged[number - 1][:, ::channels, ::step, ::step]
        recording.check(f"bridge_{number}", thin)
    recording.check("logits", model(images[:, None])[..., ::7, ::7])
    total, _, dead = recording.arrays["counts"]
    assert counts(model) == (total - dead,) * 2


def test_refuses_a_size_that_does_not_fit():
    with pytest.raises(ConfigError, match="100 x 96 pixels, wants multiples of 32"):
        build("missformer", "tiny")(torch.rand(1, 1, 1, 100, 96))
