"""The config section of prediction: what a bundle does with an image."""

from typing import Annotated, Literal

from pydantic import Field

from excite.config import Section


class PredictSection(Section):
    """Views of one image whose probabilities are averaged, and how many validation images prove the export."""

    views: Literal["one", "flip"] = "flip"  # flip: the image and its mirror image
    parity_images: Annotated[int, Field(ge=1)] = 32
