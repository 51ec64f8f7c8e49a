"""Pages of HTML: scorecards, comparisons, and any sections of scores, cards and drawings."""

from polymodal.evaluation.report.ability import unable_judges
from polymodal.evaluation.report.comparison_page import write_comparison
from polymodal.evaluation.report.page import Card, Section, command_line, write_page
from polymodal.evaluation.report.scorecard_page import write_report

__all__ = ["Card", "Section", "command_line", "unable_judges", "write_comparison", "write_page", "write_report"]
