"""Where a request may go, decided without asking anybody."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.outbound.addresses import is_public, parse_address
from core.outbound.allowance import Allowance
from core.outbound.errors import OutboundRefused
from core.outbound.places import Place, parse_place, permitted, refuse_unsendable
from core.settings import read_settings

PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255",
    "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "100::1", "2001::1", "2001:0:53aa::1",
    "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:0808:0808::1", "3fff::1", "5f00::1",
    "fc00::1", "fd00:ec2::254", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "2606:4700::5efe:7f00:1",
    "2606:4700::200:5efe:a00:1",
]  # fmt: skip
NOTHING = Allowance()


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_every_special_address_is_not(address):
    assert not is_public(ipaddress.ip_address(address))


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(network="2000::/3")))
def test_nothing_is_public_that_python_has_a_bad_word_for(address):
    bad = ("is_private", "is_loopback", "is_link_local", "is_multicast", "is_reserved", "is_unspecified")
    assert not is_public(address) or not any(getattr(address, word) for word in bad)


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_as_itself(inner):
    mapped = ipaddress.IPv6Address(f"::ffff:{inner}")
    translated = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | int(inner))
    assert is_public(mapped) == is_public(translated) == is_public(inner)


def test_an_address_of_one_link_is_no_address():
    assert parse_address("fe80::1%eth0") is None


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://hooks.example/in", Place("https", "hooks.example", 443, "/in")),
        ("HTTPS://Hooks.Example", Place("https", "hooks.example", 443, "/")),
        ("https://hooks.example?a=1&b=%20", Place("https", "hooks.example", 443, "/?a=1&b=%20")),
        ("https://hooks.example:8443/a/b;c=d?e", Place("https", "hooks.example", 8443, "/a/b;c=d?e")),
        ("http://hooks.lan:8080/", Place("http", "hooks.lan", 8080, "/")),
        ("https://8.8.8.8/", Place("https", "8.8.8.8", 443, "/")),
        ("https://[2606:4700::1111]/", Place("https", "2606:4700::1111", 443, "/")),
        ("https://xn--bcher-kva.example/", Place("https", "xn--bcher-kva.example", 443, "/")),
        ("https://hooks.example./", Place("https", "hooks.example", 443, "/")),
        ("https://my_service.internal/", Place("https", "my_service.internal", 443, "/")),
    ],
)
def test_a_url_is_taken_apart(url, place):
    assert parse_place(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example", "//hooks.example/", "https:/hooks.example", "https://", "https:///in", "https://:443/",
        "ftp://hooks.example/", "file:///etc/passwd", "gopher://x/", "javascript:alert(1)", "redis://x:6379/",
        "https://user@hooks.example/", "https://user:pass@hooks.example/", "https://@hooks.example/",
        "https://good.example@evil.example/", "https://good.example%40evil.example/",
        "https://evil.example\\@good.example/", "https://hooks.example\\.evil.example/",
        "https://hooks.example/a b", "https://hooks.example/\r\nX: y", "https://hooks.example/\n",
        "https://hooks.example\n/", "https://hooks.example/\x00", "https://hooks.example/\x7f", " https://x/",
        "https://hooks.example/#fragment", "https://hooks.example:/", "https://hooks.example:0/",
        "https://hooks.example:65536/", "https://hooks.example:99999999/", "https://hooks.example:-1/",
        "https://hooks.example:44 3/", "https://127.1/", "https://0x7f000001/", "https://2130706433/",
        "https://0177.0.0.1/", "https://127.0.0.1.2/", "https://1.2.3/", "https://foo.1/", "https://foo.0x10/",
        "https://127.0.0.1./", "https://[::1/", "https://::1/", "https://[127.0.0.1]/", "https://[::1]x/",
        "https://[fe80::1%25eth0]/", "https://[v1.x]/", "https://-a.example/", "https://a-.example/",
        "https://a..example/", "https://.example/", "https://bücher.example/", "https://ⓔxample.com/",
        "https://ｌocalhost/", "https://hooks。example/", "https://hooks.example/ü",
        "https://" + "a" * 64 + ".b/",
        "https://" + "a." * 130 + "b/", "https://hooks.example/" + "a" * 2048, "https://hooks.example/<x>",
        'https://hooks.example/"', "https://hooks.example/{x}", "https://hooks.example/|",
    ],
)  # fmt: skip
def test_a_url_that_could_be_read_in_two_ways_is_refused_without_being_repeated(url):
    with pytest.raises(OutboundRefused) as refused:
        parse_place(url)
    assert refused.value.code in {"url", "credentials"}
    assert len(url) < 12 or url not in str(refused.value)


@given(st.text(max_size=60))
def test_any_words_are_a_place_or_refused(words):
    for url in (words, f"https://{words}", f"https://hooks.example/{words}"):
        try:
            place = parse_place(url)
        except OutboundRefused:
            continue
        assert place.target.isascii()
        assert place.target.isprintable()
        assert not set(place.host) & set("@/\\ %")


HOOKS = parse_place("https://hooks.example/in")


def test_a_name_goes_to_all_of_its_public_addresses():
    assert permitted(HOOKS, ["8.8.8.8", "2606:4700::1111"], NOTHING) == ["8.8.8.8", "2606:4700::1111"]


@pytest.mark.parametrize("bad", ["127.0.0.1", "fd00::1", "fe80::1%eth0", "nonsense"])
def test_one_private_address_among_public_ones_refuses_the_name(bad):
    for addresses in ([bad], ["8.8.8.8", bad], [bad, "8.8.8.8"]):
        with pytest.raises(OutboundRefused) as refused:
            permitted(HOOKS, addresses, NOTHING)
        assert refused.value.code == "address"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://hooks.example/", "scheme"),
        ("https://hooks.example:22/", "port"),
        ("https://hooks.example:6379/", "port"),
        ("https://10.0.0.1/", "address"),
        ("https://[::1]/", "address"),
    ],
)
def test_what_will_never_be_sent_is_refused_at_the_door(url, code):
    with pytest.raises(OutboundRefused) as refused:
        refuse_unsendable(parse_place(url), NOTHING)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("words", "url", "addresses"),
    [
        ("hooks.lan", "http://hooks.lan:8080/", ["10.0.0.1"]),
        ("HOOKS.lan:8080", "http://hooks.lan:8080/", ["10.0.0.1"]),
        ("10.0.0.0/8", "http://hooks.lan:8080/", ["10.0.0.1", "10.9.9.9"]),
        ("10.0.0.1:8080", "http://10.0.0.1:8080/", ["10.0.0.1"]),
        ("[fd00::1]:8080", "http://[fd00::1]:8080/", ["fd00::1"]),
        ("fd00::/8", "https://[fd00::1]/", ["fd00::1"]),
        ("a.lan, 127.0.0.1 ,", "https://local.example/", ["127.0.0.1", "8.8.8.8"]),
    ],
)
def test_what_an_operator_allows_is_let_out(words, url, addresses):
    place, allowance = parse_place(url), Allowance.parse(words)
    refuse_unsendable(place, allowance)
    assert permitted(place, addresses, allowance) == addresses


@pytest.mark.parametrize(
    ("words", "url", "addresses", "code"),
    [
        ("hooks.lan:8080", "http://hooks.lan:8081/", ["10.0.0.1"], "scheme"),
        ("hooks.lan", "http://other.hooks.lan/", ["10.0.0.1"], "scheme"),
        ("10.0.0.0/8", "http://hooks.lan:8080/", ["10.0.0.1", "192.168.0.1"], "scheme"),
        ("10.0.0.0/8", "https://hooks.lan/", ["10.0.0.1", "192.168.0.1"], "address"),
        ("10.0.0.1:8080", "https://10.0.0.1/", ["10.0.0.1"], "address"),
        ("0.0.0.0/0", "http://hooks.lan/", ["::1"], "scheme"),
    ],
)
def test_an_allowance_reaches_no_further_than_its_words(words, url, addresses, code):
    with pytest.raises(OutboundRefused) as refused:
        permitted(parse_place(url), addresses, Allowance.parse(words))
    assert refused.value.code == code


@pytest.mark.parametrize("words", ["https://hooks.lan", "a b", "hooks.lan:0", "hooks.lan:x", "*.lan", "[::1"])
def test_an_allowance_that_is_none_stops_the_process_with_a_sentence(words, monkeypatch):
    monkeypatch.setenv("CRONTALK_OUTBOUND_ALLOW", words)
    with pytest.raises(InvalidInput, match="CRONTALK_OUTBOUND_ALLOW"):
        read_settings()
