"""How the parts of each kind are called: made-up inputs, and outputs with the batch first."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from mmengine.registry import Registry
from torch import Tensor, nn

from echozoo import registry
from echozoo.models.contracts import encode
from echozoo.models.layers.mlp import MLP
from echozoo.models.prompts import Features, Prompts
from echozoo.structures import EchoDataSample

E, K, SIDE = 8, 2, 4  # channels, structures, height and width of the coarsest map
STRIDE = 16  # of that map
Tensors = dict[str, Tensor]

# What a constructor is given where it takes an argument of that name.
SIZES = dict(embed_dims=E, in_channels=E, img_size=8 * SIDE, embedding_size=SIDE)


class Kind:
    """A kind of parts. Inputs and outputs begin with the batch; clips are (B, T, ...)."""

    registry: Registry = registry.MODELS
    sizes = tuple(SIZES)

    def given(self, part: type) -> dict:
        """The arguments that every part of the kind gets, of those that this one takes."""
        taken = registry.parameters_of(part) or ()
        return {name: SIZES[name] for name in self.sizes if name in taken}

    def inputs(self, part: nn.Module, batch: int, frames: int) -> Tensors:
        """Inputs by name, each (B, ...)."""
        raise NotImplementedError

    def call(self, part: nn.Module, **inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs, each (B, ...), or for losses scalars."""
        raise NotImplementedError

    def ways(self, part: nn.Module, inputs: Tensors) -> list[tuple[Tensor, ...]]:
        """Outputs of all the ways to call it, which together use every parameter."""
        return [self.call(part, **inputs)]

    def idle(self, part: nn.Module, name: str) -> bool:
        """Whether a parameter may do without gradients."""
        return False


class Temporal(Kind):
    registry = registry.TEMPORAL_MODULES

    def inputs(self, part, batch, frames):
        return dict(x=torch.randn(batch, frames, SIDE, SIDE + 1, E))

    def call(self, part, x):
        return (part(x.flatten(0, 1), num_frames=x.shape[1]).unflatten(0, x.shape[:2]),)


class Encoder(Kind):
    sizes = ()

    def inputs(self, part, batch, frames):
        size, channels = getattr(part, "img_size", 64), getattr(part, "in_channels", 3)
        return dict(images=torch.rand(batch, frames, channels, size, size))

    def call(self, part, images):
        maps = Features.of(encode(part, images.flatten(0, 1), images.shape[1])).maps
        return tuple(one.unflatten(0, images.shape[:2]) for one in maps)


class Neck(Kind):
    """Takes the last map, or where its annotation says so all maps, as mmseg's necks do."""

    def inputs(self, part, batch, frames):
        shapes = [(E, 2 * rows, 2 * columns) for rows, columns in ((12, 16), (6, 8))]
        return {f"map{i}": torch.rand(batch, frames, *shape) for i, shape in enumerate(shapes)}

    def call(self, part, **maps):
        flat = [one.flatten(0, 1) for one in maps.values()]
        found = part(tuple(flat)) if self.takes_maps(part) else part(flat[-1])
        found = (found,) if isinstance(found, Tensor) else found
        return tuple(one.unflatten(0, maps["map0"].shape[:2]) for one in found)

    @staticmethod
    def takes_maps(neck: nn.Module) -> bool:
        first = next(iter(inspect.signature(neck.forward).parameters.values()))
        return str(first.annotation).partition("[")[0] not in (
            "Tensor",
            "torch.Tensor",
            "<class 'torch.Tensor'>",
            "<class 'inspect._empty'>",
        )


class Head(Kind):
    """Gets all kinds of prompts that it says, those that nobody else knows as one number each."""

    registry = registry.PROMPT_HEADS

    def inputs(self, part, batch, frames):
        lead, size = (batch, frames, K), 8 * SIDE
        known = dict(
            points=dict(points=torch.rand(*lead, 2, 2) * size, labels=torch.ones(*lead, 2)),
            boxes=dict(boxes=torch.rand(*lead, 4) * size),
            detected_boxes=dict(detected_boxes=torch.rand(*lead, 1, 4) * size),
            masks=dict(masks=torch.randn(*lead, 4 * SIDE, 4 * SIDE)),
            text={},
        )
        made = dict(
            embedding=torch.randn(batch, frames, E, SIDE, SIDE),
            images=torch.rand(batch, frames, 3, size, size),
            tokens=torch.randn(5, E).expand(batch, -1, -1),
        )
        for kind in part.kinds:
            made |= known.get(kind, {kind: torch.rand(lead)})
        return made

    def call(self, part, **inputs):
        found, _ = self.embedded(part, **inputs)
        return found

    def embedded(self, part, embedding, images, tokens, **prompts):
        """Outputs, and the features that the head returned."""
        shape = embedding.shape[:2]
        flat = {name: value.flatten(0, 1) for name, value in prompts.items()}
        known = {"points", "labels", "boxes", "masks"}
        given: dict[str, Any] = {name: value for name, value in flat.items() if name in known}
        given["extra"] = {name: value for name, value in flat.items() if name not in known}
        if "text" in part.kinds:
            given["text"] = ("lv", "myo")[:K]
        features = Features((embedding.flatten(0, 1),), shape[1], images.flatten(0, 1))
        sparse, dense, seen = part.embed(features, Prompts(**given), tokens[0])
        pe = part.dense_pe(features.size).expand(shape[0], -1, -1, -1)
        return (*(one.unflatten(0, shape) for one in (sparse, dense, seen.embedding)), pe), seen

    def ways(self, part, inputs):
        fields = {"points": ("points", "labels"), "text": ()}
        of_kinds = {kind: fields.get(kind, (kind,)) for kind in part.kinds}
        others = set(inputs) - {name for names in of_kinds.values() for name in names}
        alone = [
            self.call(part, **{name: inputs[name] for name in (*others, *names)})
            for names in of_kinds.values()
            if len(of_kinds) > 1
        ]
        found, seen = self.embedded(part, **inputs)
        if hasattr(part, "loss"):
            masks = torch.rand(len(seen), K, 8 * SIDE, 8 * SIDE).round()
            losses = part.loss(seen, masks, torch.ones(len(seen), K, dtype=torch.bool))
            alone.append(tuple(losses.values()))
        return [found, *alone]

    def idle(self, part, name):
        # Of SAM's prompt encoder a head may use what it likes.
        every = {"points", "boxes", "masks"} <= set(part.kinds)
        return name.startswith("encoder.") and not every


class Decoder(Kind):
    """Reads features with maps at strides 4, 8 and 16, all of E channels."""

    def inputs(self, part, batch, frames):
        lead = (batch, frames)
        maps = {f"map{f}": torch.randn(*lead, E, f * SIDE, f * SIDE) for f in (4, 2, 1)}
        pe = torch.randn(1, E, SIDE, SIDE).expand(batch, -1, -1, -1)
        sparse = torch.randn(*lead, K, 3, E)
        return maps | dict(pe=pe, sparse=sparse, dense=torch.randn(*lead, K, E, SIDE, SIDE))

    def call(self, part, pe, sparse, dense, map4, map2, map1, **way):
        shape = dense.shape[:2]
        features = Features(tuple(one.flatten(0, 1) for one in (map4, map2, map1)), shape[1])
        prompts = pe[:1], sparse.flatten(0, 1), dense.flatten(0, 1)
        logits, quality, *_ = part(features, *prompts, **way)
        return tuple(one.unflatten(0, shape) for one in (logits, quality) if one is not None)

    def idle(self, part, name):
        # What chooses among masks for an ambiguous prompt never draws the single one.
        chooses = type(part).__name__ == "BestMaskDecoder"
        return chooses and name.startswith("output_hypernetworks_mlps.0.")

    def ways(self, part, inputs):
        more = "multimask_output" in inspect.signature(part.forward).parameters
        return [
            self.call(part, **inputs, **way) for way in ({}, *[{"multimask_output": True}] * more)
        ]


class DecodeHead(Kind):
    """One of mmseg's kind: reads four maps of E channels, each half as large as the one before."""

    def given(self, part):
        return dict(in_channels=(E,) * 4, num_classes=K + 1)

    def inputs(self, part, batch, frames):
        sides = [SIDE * 2**step for step in (3, 2, 1, 0)]
        return {f"map{s}": torch.randn(batch, frames, E, s, s) for s in sides}

    def call(self, part, **maps):
        (*_, last) = maps.values()
        found = part(tuple(one.flatten(0, 1) for one in maps.values()))
        return (found.unflatten(0, last.shape[:2]),)

    def ways(self, part, inputs):
        found = [self.call(part, **inputs)]
        if hasattr(part, "logits_of_all_sizes"):
            maps = tuple(one.flatten(0, 1) for one in inputs.values())
            found.append(tuple(part.logits_of_all_sizes(maps)))
        return found

    def idle(self, part, name):
        # SAM's estimate of a mask's quality, which no logits need.
        return "iou_prediction_head." in name


class Adapter(Kind):
    """Goes around a layer of the class that it is for."""

    registry = registry.ADAPTERS
    layers = {
        nn.Linear: lambda: nn.Linear(E, 2 * E),
        nn.Conv2d: lambda: nn.Conv2d(E, 2 * E, 3),
        MLP: lambda: MLP(E, 2 * E),
    }
    shapes = {nn.Linear: (SIDE, SIDE, E), nn.Conv2d: (E, SIDE, SIDE), MLP: (SIDE, SIDE, E)}

    def given(self, part):
        if part.replaces not in self.layers:
            raise LookupError(f"{part.__name__}: give contract a layer=, a {part.replaces}")
        return dict(layer=self.layers[part.replaces]())

    def inputs(self, part, batch, frames):
        return dict(x=torch.randn(batch, *self.shapes[type(part).replaces]))

    def call(self, part, x):
        return (part(x),)


class Memory(Kind):
    """Goes through a film whose first frame's masks are given."""

    registry = registry.MEMORIES

    def inputs(self, part, batch, frames):
        size = STRIDE * SIDE
        return dict(
            embedding=torch.randn(batch, frames, E, SIDE, SIDE),
            images=torch.rand(batch, frames, 3, size, size),
            masks=torch.randn(batch, K, size, size),
        )

    def call(self, part, embedding, images, masks):
        state = part.start(len(embedding), K, embedding.flatten(0, 1))
        return self.through(part, state, embedding, images, masks)[0]

    def through(self, part, state, embedding, images, masks, start=0):
        """The prompt of every frame after the first, or of that one, and the state."""
        frames, dense = embedding.shape[1], []
        features = Features((embedding.flatten(0, 1),), frames, images.flatten(0, 1))
        keys = part.keys(features)
        for t in range(start, start + frames):
            each = features[t - start :: frames], keys[t - start :: frames]
            if t == 0:
                state = part.write(state, t, *each, masks, given=True)
            readout, state = part.read(state, each[1])
            prompt, state = part.prompt(each[0], readout, state)
            dense.append(prompt)
            if hasattr(part, "observe"):
                state = part.observe(state, t, self._maps(prompt))
            if t > 0:
                state = part.write(state, t, *each, masks + t)
        return (torch.stack(dense, 1),), state

    @staticmethod
    def _maps(prompt: Tensor) -> list[Tensor]:
        """What a decoder might have seen at strides 16, 8 and 4, and logits."""
        x = prompt[:, :, :1].repeat(1, 1, E, 1, 1)
        twice = x.repeat_interleave(2, -1).repeat_interleave(2, -2)
        fine = twice.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return [x, twice, fine, fine[:, :, :1]]


class Loss(Kind):
    """Of K masks, some of which are labelled."""

    def inputs(self, part, batch, frames):
        masks = torch.rand(batch * frames, K, SIDE, SIDE).round()
        return dict(logits=torch.randn(batch * frames, K, SIDE, SIDE), masks=masks)

    def call(self, part, logits, masks):
        return tuple(part(logits, masks, None).values())


class MapLoss(Kind):
    """Of a label map, as mmseg's decode heads call it."""

    def inputs(self, part, batch, frames):
        labels = torch.randint(0, K + 1, (batch * frames, SIDE, SIDE))
        return dict(logits=torch.randn(batch * frames, K + 1, SIDE, SIDE), labels=labels)

    def call(self, part, logits, labels):
        return (part(logits, labels, ignore_index=255),)


class FilmLoss(Kind):
    """Of the masks of clips that are labelled at both ends."""

    def inputs(self, part, batch, frames):
        return dict(probabilities=torch.rand(batch, frames, K, SIDE, SIDE))

    def call(self, part, probabilities):
        shape, like = probabilities.shape[:2], dict(device=probabilities.device)
        places = torch.arange(2 * SIDE, **like)
        images = (places * places[:, None]).sin() + torch.arange(shape.numel(), **like)[
            :, None, None
        ]
        images = images[:, None].to(probabilities.dtype)  # B * T, 1, 2 * SIDE, 2 * SIDE
        maps = images.expand(-1, E, -1, -1)[..., ::4, ::4]
        labels = torch.ones(shape[1], SIDE, SIDE, dtype=torch.uint8, **like)
        labels[:, 2:5, 3:6] = 2
        about = dict(frames=tuple(range(probabilities.shape[1])), structures=("lv", "myo"))
        about |= dict(spacing=(1.0, 1.0), instants=("",) * probabilities.shape[1])
        size = dict.fromkeys(("native_size", "valid_size", "input_size"), (SIDE, SIDE))
        samples = [EchoDataSample(metainfo=about | size, gt_labels=labels) for _ in probabilities]
        features = Features((maps,), shape[1], images)
        return tuple(part(probabilities, samples, features).values())


class DataSet(Kind):
    registry = registry.DATASETS
    sizes = ()


KINDS = {
    "temporal": Temporal(),
    "encoder": Encoder(),
    "neck": Neck(),
    "head": Head(),
    "decoder": Decoder(),
    "decode_head": DecodeHead(),
    "adapter": Adapter(),
    "memory": Memory(),
    "loss": Loss(),
    "map_loss": MapLoss(),
    "film_loss": FilmLoss(),
    "dataset": DataSet(),
}
LOSSES = ("loss", "map_loss", "film_loss")
NETWORKS = tuple(kind for kind in KINDS if kind != "dataset")
