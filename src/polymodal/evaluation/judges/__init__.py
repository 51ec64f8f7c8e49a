"""Models trained on real data, apart from any generator, that say what a generated value shows or says."""

from polymodal.evaluation.judges.contrastive import Judge
from polymodal.evaluation.judges.embedder import Embedder, names_of, naming_field
from polymodal.evaluation.judges.hugging_face import HuggingFaceJudge
from polymodal.evaluation.judges.loading import load_judge
from polymodal.evaluation.judges.recogniser import Recogniser

__all__ = ["Embedder", "HuggingFaceJudge", "Judge", "Recogniser", "load_judge", "names_of", "naming_field"]
