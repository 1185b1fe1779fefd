"""``labkit.source``: what a reader sees of a technique."""

from __future__ import annotations

from dataclasses import replace

import pytest

import labkit
from labkit.errors import UnknownTechnique
from labkit.techniques import TECHNIQUES
from labkit.techniques.sse import SSE


def test_the_page_s_side_is_the_javascript_beside_the_python() -> None:
    shown = labkit.source("sse", side="page")
    assert "export async function receive(reader, " in str(shown)
    assert "new EventSource(" in str(shown)
    assert str(labkit.source(SSE, side="page")) == str(shown)
    assert shown.language == "javascript"
    assert "new EventSource(" not in str(labkit.source("sse"))


@pytest.mark.parametrize("technique", [t for t in TECHNIQUES if t.in_browser], ids=lambda t: t.name)
def test_a_half_is_one_short_function(technique: labkit.Technique) -> None:
    text = str(labkit.source(technique, side="page"))
    assert text.count("function") == 1
    assert len(text.splitlines()) <= 40


def test_a_technique_with_a_text_of_its_own_shows_that() -> None:
    assert str(labkit.source(replace(SSE, page="// mine"), side="page")) == "// mine\n"


def test_what_has_no_half_for_a_page_is_said_in_a_sentence() -> None:
    with pytest.raises(UnknownTechnique, match="'plugin-socket' is none for a page"):
        labkit.source("plugin-socket", side="page")
    with pytest.raises(UnknownTechnique, match="known are: polling"):
        labkit.source("carrier-pigeon", side="page")
    with pytest.raises(ValueError, match="is for techniques"):
        labkit.source(labkit.Lab, side="page")
    with pytest.raises(ValueError, match="side='server'"):
        labkit.source("sse", side="server")
