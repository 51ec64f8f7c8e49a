"""Privacy: what a model gives away of the rows that it learned from."""

from polymodal.evaluation.privacy.audit import Audit, audit
from polymodal.evaluation.privacy.leakage import Leak
from polymodal.evaluation.privacy.membership import Attack

__all__ = ["Attack", "Audit", "Leak", "audit"]
