"""Data sets of image files of any size: what is there, and what it is decoded to."""

from daso.data.images.index import Index, index_of

__all__ = ["Index", "index_of"]
