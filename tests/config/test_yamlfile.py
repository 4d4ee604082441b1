"""A YAML file is read by few rules, and everything in it knows its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.config.yamlfile import Document, Location, dotted, read_document
from smsd.core.errors import ConfigError
from tests.config.files import printed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.yaml"


def read(path: Path, content: str | bytes, **environ: str) -> Document:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_document(path, environ)


WORDS = [
    ("true", True),
    ("false", False),
    ("null", None),
    ("~", None),
    ("", None),
    ("off", "off"),
    ("no", "no"),
    ("yes", "yes"),
    ("True", "True"),
    ("0", 0),
    ("12", 12),
    ("-3", -3),
    ("0012", "0012"),
    ("1_000", "1_000"),
    ("0x10", "0x10"),
    ("+84", "+84"),
    ("1.5", 1.5),
    ("1.10", "1.10"),
    ("1e3", "1e3"),
    (".inf", ".inf"),
    ("17:30", "17:30"),
    ("06:00-22:00", "06:00-22:00"),
    ("2024-01-02", "2024-01-02"),
    ('"12"', "12"),
    ("'true'", "true"),
    ("9" * 40, "9" * 40),
]


@pytest.mark.parametrize(("written", "meant"), WORDS)
def test_a_plain_word_means_what_an_operator_thinks(path: Path, written: str, meant: object) -> None:
    value = read(path, f"key: {written}\n").data["key"]
    assert value == meant
    assert type(value) is type(meant)


PLACES: list[tuple[Location, tuple[int, int]]] = [
    (("name",), (2, 7)),
    (("polling", "interval"), (4, 13)),
    (("positions", "closed", "steps", 1), (5, 34)),
    (("list", 0), (7, 5)),
    (("list", 1, "deep"), (8, 11)),
]
PLACED = """# a comment
name: Sở Tư pháp
polling:
  interval: 60s
positions: {closed: {steps: [Ký, Đã trả kết quả]}}
list:
  - one
  - deep: two
"""


@pytest.mark.parametrize(("location", "place"), PLACES)
def test_every_value_knows_its_line_and_column(
    path: Path, location: Location, place: tuple[int, int]
) -> None:
    problem = read(path, PLACED).problem(location, "…")
    assert (problem.line, problem.column) == place


def test_a_problem_of_a_key_stands_at_the_key(path: Path) -> None:
    problem = read(path, PLACED).problem(("polling", "interval"), "…", at_key=True)
    assert (problem.line, problem.column, problem.key) == (4, 3, "polling.interval")


def test_a_problem_of_a_missing_key_stands_at_the_section_it_is_missing_from(path: Path) -> None:
    problem = read(path, PLACED).problem(("polling", "timeout"), "…")
    assert (problem.line, problem.column, problem.key) == (3, 1, "polling.timeout")


def test_columns_count_characters_not_bytes_and_a_byte_order_mark_is_no_character(path: Path) -> None:
    problem = read(path, "\ufeffthủ tục: {ố: x}\n").problem(("thủ tục", "ố"), "…")
    assert (problem.line, problem.column) == (1, 14)


def test_locations_read_as_operators_write_them() -> None:
    assert dotted(("positions", "closed", "steps", 0)) == "positions.closed.steps[0]"
    assert dotted(()) == "file"
    assert dotted(("a\nb", "")) == "'a\\nb'.''"


REFUSED_WHOLE: list[tuple[str | bytes, str]] = [
    ("", "1:1: file: is empty, accepted: lines of key: value"),
    ("# only a comment\n", "1:1: file: is empty, accepted: lines of key: value"),
    ("- a\n- b\n", "1:1: file: is not a mapping, accepted: lines of key: value"),
    ("just words\n", "1:1: file: is not a mapping, accepted: lines of key: value"),
    ("a: 1\n---\nb: 2\n", "3:1: file: holds a second document, accepted: one (no line ---)"),
    ("a: 1\n? [b, c]\n: 2\n", "2:3: file: has a key that is not a plain word"),
    (b"a: 1\nb: \xff\n", "2:4: file: is not UTF-8 text, save it as UTF-8"),
    ("a: 1\nb: \x07\n", "2:4: file: holds the character U+0007, which YAML does not allow"),
    ("a: " + "[" * 30_000, "1:24: file: is nested deeper than 20 levels"),
    ("#" * 1_100_000, "1:1: file: is too large, accepted: at most 1 MiB"),
]


@pytest.mark.parametrize(("content", "said"), REFUSED_WHOLE, ids=range(len(REFUSED_WHOLE)))
def test_a_file_that_is_no_mapping_is_refused_with_its_place(
    path: Path, content: str | bytes, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(path, content)
    assert printed(caught.value) == [said]


BROKEN = [
    ("a: 1\nb: [1, 2\nc: 3\n", 3),
    ("a: 1\n  b: 2\n", 2),
    ("a: 1\n\tb: 2\n", 2),
    ("a: 'open\n", 2),
    ("a: x: y\n", 1),
    ("a: %x\n", 1),
    ('a: "\\q"\n', 1),
    ('a: "\\UFFFFFFFF"\n', 1),
    ("a: !<x\n", 1),
    ("a: 1\n}\n", 2),
]


@pytest.mark.parametrize(("content", "line"), BROKEN)
def test_broken_yaml_is_told_with_its_line(path: Path, content: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        read(path, content)
    (problem,) = caught.value.problems
    assert problem.message.startswith("is not YAML: ")
    assert problem.line == line


@pytest.mark.parametrize(
    "content",
    [
        "a: !hunter2!x y\n",
        "a: !<hunter2\n",
        "%hunter2 x\na: b\n",
        "a: [${hunter2}]\n",
        "a: hunter2: hunter2\n",
        "a: 'hunter2\n",
        'a: "\\hunter2"\n',
        "a: |hunter2\n",
        "hunter2\na: b\n",
        "a: *hunter2 hunter2\n",
        "a: &hunter2! b\n",
    ],
)
def test_what_is_said_of_broken_yaml_repeats_nothing_of_it(path: Path, content: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(path, content)
    assert "hunter2" not in str(caught.value)


def test_a_reference_between_braces_is_told_to_need_quotes(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(path, "gateway: {password: ${credential:kannel}}\n")
    assert printed(caught.value) == [
        "1:22: file: is not YAML: expected ',' or '}', but got '{' "
        "(keys of one section start in one column, after spaces; a text with : # { or [ needs quotes)"
    ]


def test_a_folder_or_nothing_in_the_files_place_is_told(path: Path) -> None:
    with pytest.raises(ConfigError) as missing:
        read_document(path, {})
    path.mkdir()
    with pytest.raises(ConfigError) as folder:
        read_document(path, {})
    assert printed(missing.value) == ["1:1: file: does not exist, accepted: a YAML file"]
    assert printed(folder.value) == ["1:1: file: is not a file, accepted: a YAML file"]


def test_anchors_aliases_and_tags_are_refused_one_by_one(path: Path) -> None:
    document = read(path, "a: &x [1]\nb: *x\nc: !!python/object:os.system x\n<<: *x\nd: fine\n")
    places = [(location, document.problem(location, message).line) for location, message in document.problems]
    assert places == [(("a",), 1), (("b",), 2), (("c",), 3), (("<<",), 4)]
    assert document.data["d"] == "fine"


def test_a_bomb_of_aliases_does_not_go_off(path: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    document = read(path, bomb)
    assert len(document.problems) == 12 + 11 * 9
    assert document.data["a11"] == [None] * 9


def test_each_repetition_of_a_key_is_told_at_its_place_and_the_first_counts(path: Path) -> None:
    document = read(path, "a: 1\nb: {c: 1, c: {d: 2}}\na: [1, 2]\na: 3\n")
    said = sorted(
        (problem.line, problem.column, problem.key, problem.message)
        for problem in (document.problem(*one) for one in document.problems)
    )
    again = "is given a second time (first on line {}), accepted: once"
    assert said == [
        (2, 11, "b.c", again.format(2)),
        (3, 1, "a", again.format(1)),
        (4, 1, "a", again.format(1)),
    ]
    assert document.data == {"a": 1, "b": {"c": 1}}


def test_references_are_filled_in_and_their_places_remembered(path: Path) -> None:
    document = read(path, 'a: ${SECRET}\nb: "${NOWHERE}"\nc: ["${SECRET}", "${?}"]\nd: plain\n', SECRET="12")
    assert document.data["a"] == "12"
    assert document.filled == {("a",), ("c", 0)}
    assert [location for location, _ in document.unset] == [("b",)]
    assert [location for location, _ in document.problems] == [("c", 1)]


def test_half_a_surrogate_pair_is_no_text(path: Path) -> None:
    document = read(path, 'a: "\\ud800"\n')
    assert document.problems[0][0] == ("a",)


def test_a_document_shows_nothing_of_its_content(path: Path) -> None:
    document = read(path, "a: ${SECRET}\nb: hunter3\n", SECRET="hunter2")
    assert "hunter" not in repr(document)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_whatever_a_file_holds_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode())
    try:
        document = read_document(path, {})
    except ConfigError as error:
        assert all(problem.line >= 1 and problem.column >= 1 for problem in error.problems)
    else:
        assert isinstance(document.data, dict)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers(-999, 999), min_size=1))
def test_a_mapping_of_numbers_reads_back(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "numbers.yaml"
    path.write_text("".join(f'"{key}": {value}\n' for key, value in data.items()))
    assert read_document(path, {}).data == data


def test_more_values_than_any_configuration_holds_are_refused_at_once(path: Path) -> None:
    for content in ("a: [" + "1," * 20_005 + "]\n", "a: 1\n" * 20_005):
        with pytest.raises(ConfigError, match=r"holds too much, accepted: at most 20000 values"):
            read(path, content)


def test_references_bring_in_at_most_a_megabyte(path: Path) -> None:
    (path.parent / "big").write_text("x" * 60_000)
    lawful = "".join(f"k{number}: '${{file:big}}'\n" for number in range(17))
    assert len(read(path, lawful).filled) == 17
    with pytest.raises(ConfigError, match=r":18:6: file: has references that bring in too much"):
        read(path, lawful + "k17: '${file:big}'\n")
