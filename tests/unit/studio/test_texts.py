"""Texts in both languages."""

import re
from pathlib import Path

import polymodal
from polymodal.studio.texts import LANGUAGES, TEXTS, Texts, preferred


def test_every_text_is_there_in_every_language_and_used():
    folder = Path(polymodal.__file__).parent / "studio"
    code = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py") if path.name != "texts.py")
    asked = set(re.findall(r"""texts\(f?["']([^"']+)["']\)""", code))
    groups = tuple(key.split("{")[0] for key in asked if "{" in key)
    assert {key for key in asked if "{" not in key} <= set(TEXTS)
    for key, versions in TEXTS.items():
        assert len(versions) == len(LANGUAGES)
        assert all(versions)
        assert key in asked or key.startswith(groups) or f'"{key}"' in code, key
        assert re.search(r"[\u4e00-\u9fff]", Texts("zh")(key))


def test_the_browser_chooses():
    assert preferred("zh-CN,zh;q=0.9,en;q=0.8") == "zh"
    assert preferred("de-DE,en;q=0.5,zh;q=0.2") == "en"
    assert preferred("") == preferred("fr") == "en"
