"""The contact sheet of a page."""

from __future__ import annotations

import base64

from oaq.report.html.page import render
from oaq.report.html.pictures import Sheet
from tests.report.samples import bare


def test_pictures_lie_in_the_page_and_their_words_are_escaped():
    page = render(bare(), sheets=[Sheet("<b>a & b", (("float", b"x"), ("int16", b"y")))])
    assert base64.b64encode(b"x").decode() in page and base64.b64encode(b"y").decode() in page
    assert "&lt;b&gt;a &amp; b" in page and "<b>a" not in page
    assert 'id="pictures"' in page and 'href="#pictures"' in page


def test_a_page_without_pictures_has_no_such_section():
    assert 'id="pictures"' not in render(bare())
