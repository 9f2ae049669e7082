from io import StringIO

import pytest
from rich.console import Console

from cli.show import printable, table

ID = "01a1f8d9-2816-7f1f-b65c-5da87a24cb6b"
COLUMNS = ["id", "due (UTC)", "state", "took", "what came of it"]
ROW = (
    ID,
    "11-20 12:06:03",
    "succeeded",
    "0.41 s",
    "I am the concierge.\nBreakfast is served " + "late " * 60,
)


def shown(width, columns=COLUMNS, rows=(ROW,)):
    console = Console(file=StringIO(), width=width)
    console.print(table(columns, rows, "Nothing."))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_long_text_takes_no_room_from_the_other_columns(width):
    page = "\n".join(shown(width))
    assert all(word in page for word in (*COLUMNS, *ROW[:4], "I am the concierge. Br"))
    assert max(map(len, page.splitlines())) <= width


def test_columns_for_which_there_is_no_room_go_on_a_second_line():
    header, second_header, row, second_row = shown(80)
    assert header.split() == ["id", "due", "(UTC)", "state", "took"]
    assert second_header.strip() == "what came of it"
    assert row.startswith(ID)
    assert second_row.startswith("  I am the concierge. Breakfast")


def test_a_row_stays_one_line_in_a_pipe():
    assert len(shown(200)) == 2


def test_an_id_is_whole_even_in_the_narrowest_terminal():
    assert ID in "".join(shown(40))


def test_wide_signs_keep_the_columns_in_line():
    header, row = shown(60, ["name", "default"], [("夜の見張り", "yes")])
    assert header.index("default") == 12
    assert row == "夜の見張り  yes"


def test_a_name_cannot_drive_the_terminal():
    assert "\x1b" not in "".join(shown(80, ["id", "name"], [("1", "\x1b]0;owned\x07\x1b[31mred")]))


def test_text_of_any_language_is_shown_as_it_is():
    spoken = "Bonjour\u00a0! 東京\u3000駅 👩\u200d🚀 می\u200cخواهم"
    assert printable(spoken) == spoken
    assert printable("a\u202eb\x1b[2J") == "a·b·[2J"
