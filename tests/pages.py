"""What tests see of a page: its elements and its words; and what hostile people write."""

from __future__ import annotations

from html.parser import HTMLParser

PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"><svg/onload=alert(3)>',
    "'-alert(4)-'",
    "javascript:alert(5)",
    "{{ 7 * 7 }}{% raw %}",
    "</title></textarea></pre><iframe src=//evil.example>",
    "<a href='javascript:alert(6)'>x</a>&lt;b&gt;",
)
HARMLESS_TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "link",
    "body",
    "a",
    "header",
    "img",
    "form",
    "button",
    "main",
    "h1",
    "h2",
    "p",
    "div",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "span",
    "time",
    "br",
    "small",
    "code",
    "pre",
    "nav",
    "dl",
    "dt",
    "dd",
    "ol",
    "li",
    "strong",
    "input",
    "script",
    "ul",
    "dialog",
    "article",
    "kbd",
    "section",
    "aside",
    "details",
    "summary",
    "h3",
    "label",
    "select",
    "option",
    "textarea",
    "mark",
    "progress",
    "svg",
    "line",
    "rect",
    "text",
}


class Page(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and its text."""

    def __init__(self, answer):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(answer.text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def assert_harmless(answer, payload, ours=("/", "#")) -> Page:
    """A page that shows what somebody wrote as the words that it is; answers the page."""
    page = Page(answer)
    assert {tag for tag, _ in page.elements} <= HARMLESS_TAGS, {
        tag for tag, _ in page.elements
    } - HARMLESS_TAGS
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name in {"style", "srcdoc"} for name in attributes)
        for name in ("href", "src", "action", "hx-get", "hx-post"):
            assert attributes.get(name) is None or attributes[name].startswith(ours), attributes
    if "<" in payload:
        assert payload not in answer.text
    return page
