"""SurgicalSAM's prompts (arXiv 2308.08746): a learnt prototype of each class asks the image.

::

    prototype p_k, embedding F -> F_k = F + F (F . p_k) --+-- along the places -> sparse prompts
                                                          +-- along the channels -> dense prompt
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather_object
from torch import Tensor, nn

from echozoo.models.contracts import KeyMap
from echozoo.models.prompt_heads.base import SAMPromptHead
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS

_NEVER = -1e4  # finite, so that no gradient is NaN where a reference is compared with none


@PROMPT_HEADS.register_module()
class PrototypePromptHead(SAMPromptHead):
    """Prompts from prototypes of the structures; it prompts itself.

    All K structures are asked for in each frame: the dense prompt is that of the one asked for,
    the sparse prompts are of all, marked as asked for or not. The published evaluation asks for
    those alone that the names of the reference's files say are there; here nothing does.

    Clicks, boxes and masks are taken too, as SAM does.

    Args:
        num_structures: K.
        num_tokens: Sparse prompts of a structure.
        hidden_dims: Hidden width of what makes sparse and dense prompts.
        temperature: Of the contrastive loss.
        **sizes: See `SAMPromptHead`.
    """

    published = (
        *SAMPromptHead.published,
        KeyMap(
            {
                r"learnable_prototypes\.class_embeddings\.": "prototypes.",
                r"prototype_prompt_encoder\.dense_fc_1\.": "dense_prompt.0.",
                r"prototype_prompt_encoder\.dense_fc_2\.": "dense_prompt.2.",
                r"prototype_prompt_encoder\.sparse_fc_1\.": "sparse_prompts.0.",
                r"prototype_prompt_encoder\.sparse_fc_2\.": "sparse_prompts.2.",
                r"prototype_prompt_encoder\.pn_cls_embeddings\.0\.": "others.",
                r"prototype_prompt_encoder\.pn_cls_embeddings\.1\.": "asked.",
            },
            holds=r"(prototypes|(dense_prompt|sparse_prompts)\.\d)\..+",
            name="PrototypePromptHead",
            alone={
                "class_embeddings.weight": "learnable_prototypes.",
                "pn_cls_embeddings.0.weight": "prototype_prompt_encoder.",
            },
        ),
    )

    def __init__(
        self,
        num_structures: int = 3,
        num_tokens: int = 2,
        hidden_dims: int = 128,
        temperature: float = 0.07,
        **sizes: int,
    ) -> None:
        super().__init__(**sizes)
        embed_dims = self.embed_dims
        self.temperature = temperature
        self.prototypes = nn.Embedding(num_structures, embed_dims)
        self.dense_prompt = nn.Sequential(
            nn.Conv2d(embed_dims, hidden_dims, 1),
            nn.ReLU(),
            nn.Conv2d(hidden_dims, embed_dims, 1),
        )
        # Along the places of the embedding: its size is in the weights.
        self.sparse_prompts = nn.Sequential(
            nn.Conv1d(math.prod(self.encoder.image_embedding_size), hidden_dims, 1),
            nn.ReLU(),
            nn.Conv1d(hidden_dims, num_tokens, 1),
        )
        self.asked = nn.Embedding(num_tokens, embed_dims)
        self.others = nn.Embedding(num_tokens, embed_dims)

    def prompt_itself(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None
    ) -> tuple[Tensor, Tensor, Features]:
        """Ask for all K structures: sparse (N, K, K * num_tokens, C), dense (N, K, C, h, w)."""
        found = looked_for(features.embedding, self.prototypes.weight)  # N, K, C, h, w
        batch = found.shape[:2]
        dense = self.dense_prompt(found.flatten(0, 1)).unflatten(0, batch)
        tokens = self._tokens(found.flatten(0, 1)).unflatten(0, batch)  # N, K, n, C
        mine = torch.eye(batch[1], dtype=torch.bool, device=tokens.device)[..., None, None]
        marks = torch.where(mine, self.asked.weight, self.others.weight)  # K, K, n, C
        return (tokens[:, None] + marks).flatten(2, 3), dense, features

    def _tokens(self, found: Tensor) -> Tensor:
        """Sparse prompts (M, n, C) of maps (M, C, h, w), at another size than the nominal too."""
        nominal = self.encoder.image_embedding_size
        if tuple(found.shape[-2:]) != tuple(nominal):
            found = F.interpolate(found, nominal, mode="bilinear", align_corners=False)
        return self.sparse_prompts(found.flatten(2).transpose(1, 2))

    def loss(self, features: Features, masks: Tensor, labelled: Tensor) -> dict[str, Tensor]:
        """Compare the prototypes with the mean features inside the references.

        Args:
            features: As from ``embed``.
            masks: References (N, K, H, W).
            labelled: Which of them are there, (N, K) bool.

        Returns:
            ``loss_prototypes``; a structure that is absent from an image counts nothing there.
        """
        embedding = features.embedding.detach().float()
        inside = F.adaptive_avg_pool2d(masks, features.size)[:, :, None]  # N, K, 1, h, w
        area = inside.sum((-2, -1))  # N, K, 1
        means = (inside * embedding[:, None]).sum((-2, -1)) / area.clamp(min=1e-6)  # N, K, C
        there = labelled & (area[..., 0] > 0)
        # A prototype is compared with all images of a step, those of other processes too.
        parts = zip(*all_gather_object((means.cpu(), there.cpu())), strict=True)
        means, there = (torch.cat(part).to(embedding.device) for part in parts)
        prototypes = self.prototypes.weight.float()
        loss = prototype_loss(prototypes, means, there, self.temperature)
        return {"loss_prototypes": loss}

    def fit_published(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Resize the weights along the places; take the marks from SAM where a file has none."""
        weights = dict(weights)
        for mark, label in ((self.others, 0), (self.asked, 1)):
            name = "asked.weight" if label else "others.weight"
            point = weights.get(f"encoder.point_embeddings.{label}.weight")
            if point is not None and name not in weights:
                weights[name] = point.expand(mark.num_embeddings, -1).clone()
        places = weights.get("sparse_prompts.0.weight")
        if places is not None:
            weights["sparse_prompts.0.weight"] = self._fit_places(places)
        return weights

    def _fit_places(self, weight: Tensor) -> Tensor:
        """Weights (hidden, places, 1) of square maps, whose sum over a map stays."""
        size, nominal = round(weight.shape[1] ** 0.5), self.encoder.image_embedding_size
        if size**2 != weight.shape[1] or (size, size) == tuple(nominal):
            return weight
        maps = weight[:, None, :, 0].unflatten(2, (size, size)).float()
        maps = F.interpolate(maps, nominal, mode="bilinear", align_corners=False, antialias=True)
        return (maps.flatten(1)[..., None] * size**2 / maps[0].numel()).to(weight.dtype)


def looked_for(embedding: Tensor, prototypes: Tensor) -> Tensor:
    """Stress an embedding (N, C, h, w) where it is like each prototype (K, C): (N, K, C, h, w)."""
    similar = torch.einsum("nchw,kc->nkhw", embedding, prototypes)
    return embedding[:, None] * (1 + similar[:, :, None])


def prototype_loss(
    prototypes: Tensor, references: Tensor, there: Tensor, temperature: float
) -> Tensor:
    r"""NT-Xent loss of prototypes that look for the references of their class.

    For each pair of a prototype k and a reference r of its class, with the cosine of the angle
    between two vectors divided by the temperature :math:`\tau` as their similarity s,
    :math:`-\log (e^{s_{kr}} / (e^{s_{kr}} + \sum_{q} e^{s_{kq}}))` over the references q of the
    other classes; their mean over all pairs.

    Args:
        prototypes: (K, C), one a class.
        references: (N, K, C), of each image one a class.
        there: Which references are there, (N, K) bool; the others count nowhere.
        temperature: The less it is, the more the nearest references of other classes count.

    Returns:
        A scalar; 0 where there is no reference.
    """
    references = torch.where(there[..., None], references, 0)
    similar = F.cosine_similarity(prototypes[:, None, None], references, dim=-1) / temperature
    mine = torch.eye(len(prototypes), dtype=torch.bool, device=there.device)[:, None]  # K, 1, K
    own, other = mine & there, ~mine & there  # K, N, K
    others = torch.where(other, similar, _NEVER).logsumexp((1, 2), keepdim=True)  # K, 1, 1
    pairs = torch.where(own, F.softplus(others - similar), 0)
    return pairs.sum() / own.sum().clamp(min=1)
