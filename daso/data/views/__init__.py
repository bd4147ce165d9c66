"""Batched augmentation on uint8 tensors, bit-exact with Pillow."""

from daso.data.views.crop import Ragged
from daso.data.views.draws import Draws, draw, kind_of
from daso.data.views.sim_draws import SimDraws
from daso.data.views.spec import ViewSpec
from daso.data.views.views import Views

__all__ = ["Draws", "Ragged", "SimDraws", "ViewSpec", "Views", "draw", "kind_of"]
