"""SAMUS with TRA on two data sets at once: CAMUS's three structures, EchoNet-Dynamic's one.

A frame's losses are of the structures that its data set labels; validated and tested on CAMUS.
Data: CAMUS by --data-root, EchoNet-Dynamic by the environment's ECHONET_ROOT.
Command: ECHONET_ROOT=PATH tools/dist_train.sh configs/samus_tra_mixed.py 8 --data-root PATH
"""

_base_ = "samus_tra.py"

_camus = dict(subset="train", pipeline={{_base_.train_pipeline}}, **_base_.shared)
_echonet = dict(
    type="EchoNetDataset",
    data_root="{{$ECHONET_ROOT:echonet}}",
    subset="train",
    structures=("lv", "myo", "la"),
    clip_length=8,
    spread=True,
    image_size=(256, 256),
    pipeline={{_base_.train_pipeline}},
)
train_dataloader = dict(
    dataset=dict(_delete_=True, type="ConcatDataset", datasets=[_camus, _echonet])
)

_tiny = dict(image_size=(96, 96))
scales = dict(
    tiny=dict(
        train_dataloader=dict(
            dataset=dict(
                _delete_=True,
                type="ConcatDataset",
                datasets=[{**_camus, **_tiny}, {**_echonet, **_tiny}],
            )
        )
    )
)
