"""A run that travels: a folder with its weights and a model card, and the hub."""

from polymodal.packaging.card import model_card
from polymodal.packaging.hub import download, is_hub_name, upload
from polymodal.packaging.merging import merge
from polymodal.packaging.package import push_package, write_package

__all__ = ["download", "is_hub_name", "merge", "model_card", "push_package", "upload", "write_package"]
