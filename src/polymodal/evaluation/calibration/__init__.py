"""Calibration: how sure a model may be of the cells of a table that it fills."""

from polymodal.evaluation.calibration.calibrator import Calibrator, expected_calibration_error
from polymodal.evaluation.calibration.confidence import Calibration, calibrate

__all__ = ["Calibration", "Calibrator", "calibrate", "expected_calibration_error"]
