"""Batched augmentation on uint8 tensors, bit-exact with Pillow."""

from daso.data.views.crop import Ragged
from daso.data.views.draws import Draws, draw
from daso.data.views.spec import ViewSpec
from daso.data.views.views import Views

__all__ = ["Draws", "Ragged", "ViewSpec", "Views", "draw"]
