"""Inputs of what a microphone or a camera takes, or of a file."""

from typing import Any

from polymodal.studio.widgets.base import Widget


class WebcamInput(Widget):
    """A picture: a file, what the webcam takes, or what was copied."""

    @property
    def component(self) -> str:
        return "Image"

    def settings(self) -> dict[str, Any]:
        # Without a mode and without a format that loses anything, the model sees the file as it was uploaded.
        return {
            "sources": ["upload", "webcam", "clipboard"], "type": "filepath", "image_mode": None, "format": "png",
            "height": 240,
        }  # fmt: skip


class MicrophoneInput(Widget):
    """A sound: a file, or what is recorded."""

    @property
    def component(self) -> str:
        return "Audio"

    def settings(self) -> dict[str, Any]:
        return {"sources": ["upload", "microphone"], "type": "filepath"}


class VideoInput(Widget):
    """A clip: a file, or what the webcam takes."""

    @property
    def component(self) -> str:
        return "Video"

    def settings(self) -> dict[str, Any]:
        return {"sources": ["upload", "webcam"], "height": 240}
