"""eSpeak NG through its C interface.

The library is GPL and keeps global state, so only the build's worker processes load it, never the user's.
Source: https://github.com/espeak-ng/espeak-ng, ``speak_lib.h``.
"""

import ctypes
from typing import ClassVar

import numpy as np

_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: synthesise within the call, hand the samples to the callback
_UTF8 = 1
_RATE, _PITCH = 1, 3  # espeak_PARAMETER


class Espeak:
    """Speaks text in any of eSpeak's voices. One per process."""

    _callback_type: ClassVar = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
    )

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.sample_rate_hz = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0
        )
        if self.sample_rate_hz <= 0:
            raise RuntimeError("eSpeak NG found no voice data in the package espeakng-loader")
        self._chunks: list[np.ndarray] = []
        self._callback = self._callback_type(self._collect)  # kept: the library holds only a pointer to it
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples, count: int, _events) -> int:
        if samples and count:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def use(self, voice: str, pitch: int = 50, words_per_minute: int = 140) -> None:
        """Choose a voice, such as ``gmw/en-US+f2``: an accent's file and, after the plus, a variant.

        Raises:
            ValueError: There is no such accent.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"eSpeak NG has no voice '{voice}'")
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)

    def __call__(self, text: str) -> np.ndarray:
        """Text -> samples in [-1, 1), float32, at ``sample_rate_hz``."""
        self._chunks.clear()
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _UTF8, None, None)
        return np.concatenate([np.zeros(0, np.int16), *self._chunks]).astype(np.float32) / 32768
