"""A server over finished runs, for the clients of OpenAI's API and for polymodal's own routes."""

from polymodal.serving.addresses import Addresses
from polymodal.serving.app import make_app
from polymodal.serving.copies import Copies
from polymodal.serving.engine import Engine
from polymodal.serving.figures import Figures
from polymodal.serving.provenance import Signer
from polymodal.serving.runs import Runs

__all__ = ["Addresses", "Copies", "Engine", "Figures", "Runs", "Signer", "make_app"]
