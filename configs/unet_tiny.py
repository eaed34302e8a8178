"""The U-Net at a size that trains on two CPU cores: 16 channels first, 128 x 128.

Data: CAMUS, or what tools/make_phantom.py writes.
Command: tools/train.py configs/unet_tiny.py --data-root PATH
"""

_base_ = "unet.py"

model = dict(backbone=dict(base_channels=16), decode_head=dict(in_channels=16, channels=16))

image_size = dict(dataset=dict(image_size=(128, 128)))
train_dataloader = dict(batch_size=4, **image_size)
val_dataloader = image_size
test_dataloader = image_size

max_epochs = 50
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [dict(type="PolyLR", power=0.9, end=max_epochs, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
