import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import polymodal as pm
from polymodal import ConfigError, DataError, Text


def _learned(texts):
    text = Text(max_length=64, tokenizer="bpe", vocab_size=300)
    text.prepare(texts * 20)
    return text


LEARNED, LEARNED_APPLE = _learned(["red apple", "green apple", "red dog", None, 5]), _learned(["a red apple"])


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=60).filter(lambda text: len(text.encode(errors="replace")) < 250))
def test_both_tokenizers_are_lossless(text):
    for modality in (Text(max_length=260), Text(max_length=260, tokenizer=LEARNED.tokenizer)):
        try:
            text.encode()
        except UnicodeEncodeError:
            with pytest.raises(DataError, match=r"lone surrogate at character \d+, which is no Unicode"):
                modality.read(text)
            continue
        stored = modality.read(text)
        assert stored[-1] == Text.END
        assert modality.write(modality.to_model(torch.from_numpy(stored))) == text


def test_ids():
    assert Text().read("ab").tolist() == [97 + 3, 98 + 3, Text.END]
    assert Text().space.vocab == 259
    assert Text().read("").tolist() == [Text.END]


def test_learned_tokens_are_fewer_than_bytes():
    assert len(LEARNED.read("red apple")) < len("red apple")
    assert LEARNED.space.vocab <= 300
    assert LEARNED.read("red apple").max() < LEARNED.space.vocab


def test_write_stops_at_the_end_and_survives_broken_bytes():
    ids = torch.tensor([2, 100, 101, 1, 102, 0])
    assert Text().write(ids) == "ab"
    assert Text().write(torch.tensor([0xFF + 3, 100, 0])) == "\ufffda"


def test_too_long_is_refused_not_cut():
    assert len(Text(max_length=4).read("abc")) == 4
    with pytest.raises(DataError, match=r"^the text has 4 bytes; max_length 4 holds 3$"):
        Text(max_length=4).read("abcd")
    with pytest.raises(DataError, match=r"^the text has 6 bytes; max_length 4 holds 3$"):
        Text(max_length=4).read("äöü")


def test_files(tmp_path):
    (tmp_path / "a.txt").write_bytes("zwei Äpfel\r\n".encode())
    np.testing.assert_array_equal(Text().read(tmp_path / "a.txt"), Text().read("zwei Äpfel"))
    with pytest.raises(DataError, match=r"^the text is not UTF-8: byte 0xff at 2$"):
        Text().read(b"ab\xff")
    with pytest.raises(DataError, match=r"^cannot read the file: No such file or directory$"):
        Text().read(tmp_path / "b.txt")
    with pytest.raises(DataError, match=r"^5 \(int\) is not a string$"):
        Text().read(5)


@pytest.mark.parametrize("text", ["", "a red apple", "Größe 日本 😀\x00", "\u0301\ufeff"])
def test_the_vocabulary_that_comes_trained_writes_any_text_and_a_run_keeps_it_whole(text):
    trained = Text(tokenizer="trained")
    assert trained.space.vocab == 8192
    assert trained.write(torch.from_numpy(trained.read(text))) == text
    again = Text(**trained.state())
    assert again.tokenizer == trained.tokenizer
    np.testing.assert_array_equal(again.read(text), trained.read(text))


def test_the_vocabulary_that_comes_trained_is_short_and_stays_what_it_is():
    """A run that was trained with it holds it, and another vocabulary needs another name."""
    trained = Text(tokenizer="trained")
    assert trained.read("a red apple").tolist() == [67, 1730, 498, 278, 1]
    for text in ("a package of programs for reading mail", "eine Sammlung von Programmen für Bilder"):
        assert len(trained.read(text)) < len(text) / 2


def test_bad_arguments():
    with pytest.raises(ConfigError, match=r"^max_length: 1 leaves no room"):
        Text(max_length=1)
    with pytest.raises(ConfigError, match=r"^vocab_size: 100 is too few; 259 or more hold every byte$"):
        Text(tokenizer="bpe", vocab_size=100)
    with pytest.raises(ConfigError, match=r"^tokenizer: 'words' is none of 'bpe', 'trained' and a tokenizer's JSON"):
        Text(tokenizer="words")
    with pytest.raises(DataError, match=r"^the tokenizer is not learned yet"):
        Text(tokenizer="bpe").read("a")


@pytest.mark.parametrize("form", ["string", "bytes", "path"])
def test_a_vocabulary_is_learned_from_every_form_that_is_read(form, tmp_path):
    (tmp_path / "text.txt").write_text("a red apple\n")
    raw = {"string": "a red apple", "bytes": b"a red apple\n", "path": tmp_path / "text.txt"}[form]
    text = Text(max_length=64, tokenizer="bpe", vocab_size=300)
    text.prepare([raw] * 20)
    assert text.tokenizer == LEARNED_APPLE.tokenizer
    assert len(text.read(raw)) < len("a red apple")


def test_a_vocabulary_is_learned_from_files_of_a_folder(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text("a red apple\n")
    rows = [{"name": tmp_path / f"{number}.txt", "split": "train"} for number in range(20)]
    files = {"name": {"modality": "text", "max_length": 64, "tokenizer": "bpe", "vocab_size": 300}}
    data = pm.load(rows, files, root=tmp_path, cache=tmp_path / "cache")
    assert len(data.fields["name"].read("a red apple")) < len("a red apple")
    assert data.train[0]["name"] == "a red apple"


@pytest.mark.parametrize("text", ["a €", "日本", "😀!"])
def test_ids_cut_in_the_middle_of_a_character_are_written(text):
    """A head may stop anywhere, and draw bytes that are no character; the rest of the text is as it was."""
    for modality in (Text(), LEARNED):
        ids = torch.from_numpy(modality.read(text)[:-1])
        for end in range(len(ids) + 1):
            written = modality.write(ids[:end])
            assert text.startswith(written.rstrip("\ufffd"))
            assert (written == text) == (end == len(ids))
            assert modality.read(written)[-1] == Text.END
