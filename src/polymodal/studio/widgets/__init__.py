"""The one table of the inputs of each modality; a modality that it does not name is typed or uploaded."""

from polymodal.modalities import Audio, Image, Label, Modality, Text, Video
from polymodal.studio.widgets.base import Widget
from polymodal.studio.widgets.captured import MicrophoneInput, VideoInput, WebcamInput
from polymodal.studio.widgets.typed import ChoiceInput, TextInput

WIDGETS: dict[type[Modality], type[Widget]] = {
    Text: TextInput,
    Label: ChoiceInput,
    Image: WebcamInput,
    Audio: MicrophoneInput,
    Video: VideoInput,
}

__all__ = ["WIDGETS", "Widget", "find_widget"]


def find_widget(modality: Modality) -> Widget:
    """The input for values of a field of this modality."""
    return next((WIDGETS[base] for base in type(modality).__mro__ if base in WIDGETS), Widget)(modality)
