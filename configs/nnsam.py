"""nnSAM: nnU-Net's network with MobileSAM's frozen encoder beside its own.

Data: CAMUS, see _base_/datasets/camus.py. Weights: those of MobileSAM as checkpoints/mobile_sam.pt
Command: tools/train.py configs/nnsam.py --data-root PATH

The published code draws all convolutions of the frozen encoder anew after it has loaded them, by
mistake: of MobileSAM it keeps linear layers, norms and attention biases. To have that network:
--cfg-options model.pretrained.without="['*.c.weight','*.neck.0.weight','*.neck.2.weight']"
"""

_base_ = "nnunet.py"

model = dict(
    backbone=dict(type="NNSAMEncoder", sam=dict(type="TinyViT", stem_stride=4), sam_size=1024),
    decode_head=dict(
        in_channels=(32, 64, 128, 256 + 256, 512, 512, 512),
        widths=(32, 64, 128, 256, 512, 512),
    ),
    frozen=("backbone.sam.*",),
    pretrained=dict(path="checkpoints/mobile_sam.pt", parts=("backbone.sam",)),
)

# There are no weights of SAM's at --scale tiny, so all of it trains from scratch.
scales = dict(
    tiny=dict(
        model=dict(
            backbone=dict(
                sam=dict(
                    embed_dims=(16, 32, 32, 48),
                    depths=(1, 1, 1, 1),
                    num_heads=(1, 2, 2, 3),
                    out_channels=32,
                ),
                sam_size=192,
            ),
            decode_head=dict(in_channels=(12, 24, 48, 96 + 32, 128), widths=(12, 24, 48, 96)),
            frozen=(),
            pretrained=None,
        ),
    )
)
