"""An agency's file: defaults, what it overrides, and that a wrong one leaves out that agency alone."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path

import pytest

from smsd.config.load import AgencyFiles, read_agencies
from smsd.core.errors import ConfigError
from smsd.core.model import Mode
from tests.config.files import AGENCY, agencies_of, printed, settings_of
from tests.support.builders import APOLOGY_TEXT, RESULT_TEXT

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
URL = "postgresql+psycopg2://smsd:${credential:p}@10.65.10.18/motcua"


def said_of(files: AgencyFiles, id_: str = "a") -> list[str]:
    return printed(files.problems[id_])


def test_with_the_three_required_keys_the_rest_is_as_the_contract_prints_it(tmp_path: Path) -> None:
    agency = agencies_of(tmp_path, {"so-tu-phap.yaml": AGENCY}).agencies["so-tu-phap"]
    assert (agency.id, agency.path) == ("so-tu-phap", tmp_path / "agencies" / "so-tu-phap.yaml")
    assert (agency.name, agency.short_name, agency.mode) == ("Sở Tư pháp", None, Mode.LIVE)
    assert (agency.view, agency.database.get_secret_value()) == ("v", "sqlite:////srv/motcua.db")
    assert (agency.columns, agency.filter, agency.changed_by) == ({}, {}, None)
    assert (agency.positions, agency.notices) == ({}, {})
    assert (agency.interval, agency.timeout, agency.sweep) == (None, None, HOUR)
    assert (agency.same_day, agency.skip_procedures, agency.apology, agency.unset) == ("notify", (), True, ())


FULL = """name: Ủy ban nhân dân thành phố Nha Trang
short_name: UBND TP Nha Trang
mode: shadow
database: mssql+pyodbc://smsd:${credential:nha-trang}@10.65.1.10:1433/MotCua?driver=FreeTDS&TDS_Version=7.4
view: dbo.smsd_dossiers
columns: {dossier_code: MaHoSo, step: TenBuoc}
filter: {MaCoQuan: H32.12, Cap: 2, Nam: "2026"}
changed_by: updated_at
positions: {closed: {steps: [Hoàn tất]}}
notices: {result_ready: {settle: 5m}, apology: {until: "21:00"}}
interval: 2m
timeout: 20s
sweep: 3h
same_day: skip
skip_procedures: [1.001, 1.10, TP-07]
apology: false
"""


def test_every_key_of_the_contract_is_understood(tmp_path: Path) -> None:
    (tmp_path / "nha-trang").write_text("p@ss:w/rd\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    files = agencies_of(tmp_path, {"nha-trang.yaml": FULL}, environ)
    assert not files.problems
    agency = files.agencies["nha-trang"]
    assert "smsd:p%40ss%3Aw%2Frd@10.65.1.10:1433/MotCua?" in agency.database.get_secret_value()
    assert (agency.mode, agency.view, agency.short_name) == (
        Mode.SHADOW,
        "dbo.smsd_dossiers",
        "UBND TP Nha Trang",
    )
    assert agency.columns == {"dossier_code": "MaHoSo", "step": "TenBuoc"}
    assert agency.filter == {"MaCoQuan": "H32.12", "Cap": 2, "Nam": "2026"}
    assert type(agency.filter["Cap"]) is int
    assert agency.changed_by == "updated_at"
    assert list(agency.positions) == ["closed"]
    assert (agency.interval, agency.timeout, agency.sweep) == (2 * MINUTE, timedelta(seconds=20), 3 * HOUR)
    assert (agency.same_day, agency.apology) == ("skip", False)
    assert agency.skip_procedures == ("1.001", "1.10", "TP-07")


def test_an_agencys_partial_notice_is_completed_by_that_of_smsd_yaml(tmp_path: Path) -> None:
    settings = "notices: {result_ready: {valid_for: 3d}, apology: {at: '18:00'}}\n"
    text = AGENCY + "notices: {result_ready: {settle: 5m}, apology: {until: '21:00'}}\n"
    notices = agencies_of(tmp_path, {"a.yaml": text}, settings=settings).agencies["a"].notices
    ready, apology = notices["result_ready"], notices["apology"]
    assert (ready.text, ready.settle, ready.valid_for) == (RESULT_TEXT, 5 * MINUTE, timedelta(days=3))
    assert (apology.text, apology.at, apology.until) == (APOLOGY_TEXT, time(18), time(21))
    assert apology.unless == ("result_ready", "closed")
    assert list(notices) == ["result_ready", "apology"]


def test_an_agency_may_add_a_position_and_its_notice(tmp_path: Path) -> None:
    text = AGENCY + "positions: {fee: {statuses: [Chờ nộp phí]}}\nnotices: {fee: {text: Phí}}\n"
    assert agencies_of(tmp_path, {"a.yaml": text}).agencies["a"].notices["fee"].text == "Phí"


def test_a_relative_database_is_relative_to_the_agencys_file(tmp_path: Path) -> None:
    text = AGENCY.replace("sqlite:////srv/", "sqlite:///../data/")
    agency = agencies_of(tmp_path, {"a.yaml": text}).agencies["a"]
    assert agency.database.get_secret_value() == f"sqlite:///{tmp_path}/agencies/../data/motcua.db"


def test_agencies_come_sorted_by_id_and_an_empty_folder_is_lawful(tmp_path: Path) -> None:
    assert agencies_of(tmp_path, {}) == AgencyFiles()
    files = {f"{id_}.yaml": AGENCY.replace("view: v", f"view: {id_}") for id_ in ("b", "a-2", "a")}
    assert list(agencies_of(tmp_path, files).agencies) == ["a", "a-2", "b"]


def test_a_wrong_file_leaves_out_that_agency_alone(tmp_path: Path) -> None:
    files = agencies_of(
        tmp_path, {"a.yaml": AGENCY, "b.yaml": "name: [", "c.yaml": "", "d.yaml": AGENCY + "x: 1\n"}
    )
    assert list(files.agencies) == ["a"]
    assert list(files.problems) == ["b", "c", "d"]
    assert str(files.problems["d"]).startswith(f"{tmp_path}/agencies/d.yaml:4:1: x: is an unknown key")


COLUMNS = (
    "accepted: dossier_code, phone, step, status, procedure_code, procedure_name, received_at, due_at, "
    "resolved_at, updated_at"
)
KINDS = (
    "accepted: mssql+pyodbc://user:password@host:1433/database?driver=FreeTDS&TDS_Version=7.4, "
    "postgresql+psycopg2://user:password@host/database, sqlite:////path/to/file.db"
)
KEYS = (
    "accepted: apology, changed_by, columns, database, filter, interval, mode, name, notices, positions, read, "
    "same_day, short_name, skip_procedures, sweep, timeout, view"
)
IDENTIFIER = "is no name in a database, accepted: the name alone, without quotes or brackets"

MISTAKES = [
    ("columns: {ma: MaHoSo}", f"4:11: columns.ma: is no column smsd knows, {COLUMNS}"),
    ("columns: {step: 'a\"b'}", f'4:17: columns.step: "a"b" {IDENTIFIER}'),
    ("columns: [step]", "4:10: columns: is not a section, accepted: lines of key: value"),
    ("changed_by: NgaySua", f"4:13: changed_by: names no column smsd knows, {COLUMNS}"),
    ("filter: {MaCoQuan: [1]}", "4:20: filter.MaCoQuan: is not a text, accepted: one text"),
    ("filter: {MaCoQuan: }", "4:19: filter.MaCoQuan: is empty, accepted: a text"),
    (
        "filter: {MaCoQuan: true}",
        '4:20: filter.MaCoQuan: "true" is not a text, accepted: a text, this one in quotes',
    ),
    ("filter: {'a]': 1}", f"4:10: filter.a]: {IDENTIFIER}"),
    ("mode: on", '4:7: mode: "on" is unknown, accepted: live, shadow, off'),
    ("mode: Off", '4:7: mode: "Off" is unknown, accepted: live, shadow, off'),
    ("same_day: false", '4:11: same_day: "false" is unknown, accepted: notify, skip'),
    ("apology: no", '4:10: apology: "no" is neither of two, accepted: true or false'),
    (
        "skip_procedures: TP-07",
        '4:18: skip_procedures: "TP-07" is not a list, accepted: [one, another], or [] for none',
    ),
    ("short_name: ' '", '4:13: short_name: " " is blank, accepted: a name'),
    ("interval: 1", '4:11: interval: "1" is no duration, accepted: 30s, 5m, 2h, 3d'),
    ("sweep: soon", '4:8: sweep: "soon" is no duration, accepted: 30s, 5m, 2h, 3d'),
    (
        "positions: {closed: {step: [a]}}",
        "4:22: positions.closed.step: is an unknown key (did you mean steps?), accepted: statuses, steps",
    ),
    (
        "notices: {fee: {text: Phí}}",
        "4:11: notices.fee: names no position, "
        "accepted: supplement, result_ready, closed, apology; a new one is added under positions",
    ),
    (
        "notices: {apology: {until: '17:30'}}",
        '4:28: notices.apology.until: "17:30" is not later than at, accepted: a later time of the same day',
    ),
    (
        "notices: {apology: {unless: [fee]}}",
        "4:30: notices.apology.unless[0]: names no position, accepted: supplement, result_ready, closed",
    ),
    ("id: other", f"4:1: id: is an unknown key, {KEYS}"),
    ("path: other", f"4:1: path: is an unknown key, {KEYS}"),
    ("name: twice", "4:1: name: is given a second time (first on line 1), accepted: once"),
]


@pytest.mark.parametrize(("written", "said"), MISTAKES)
def test_each_mistake_is_told_with_its_place_and_what_is_accepted(
    tmp_path: Path, written: str, said: str
) -> None:
    files = agencies_of(tmp_path, {"a.yaml": AGENCY + written + "\n"})
    assert said_of(files) == [said]


DATABASES = [
    ("oracle://u:p@h/d", f"names no kind of database that can be used here, {KINDS}"),
    ("postgresql://u:p@h/d", f"names no kind of database that can be used here, {KINDS}"),
    ("postgresql+psycopg2://u:p@h", f"names no database, {KINDS}"),
    ("postgresql+psycopg2://u:p@h:99999/d", f"has a port that cannot be, {KINDS}"),
    ("mssql+pyodbc://u:p@h:port/d", f"is no database URL, {KINDS}"),
    ("mssql+pyodbc:///d", f"names no host, {KINDS}"),
    (
        "sqlite:///file:x.db?uri=true",
        "names no file, accepted: sqlite:////path/to/file.db, or sqlite:///file.db beside this file",
    ),
    (
        "sqlite://motcua.db",
        "names no file, accepted: sqlite:////path/to/file.db, or sqlite:///file.db beside this file",
    ),
]


@pytest.mark.parametrize(("url", "said"), DATABASES)
def test_a_database_that_cannot_be_is_told_without_its_url(tmp_path: Path, url: str, said: str) -> None:
    files = agencies_of(tmp_path, {"a.yaml": f"name: A\nview: v\ndatabase: {url}\n"})
    assert said_of(files) == [f"3:11: database: {said}"]


@pytest.mark.parametrize("view", ["''", "[dbo].[v]", "dbo.", "'v; drop'", "'\"v\"'"])
def test_a_view_that_is_no_plain_name_is_refused(tmp_path: Path, view: str) -> None:
    text = f"name: A\ndatabase: sqlite:////x.db\nview: {view}\n"
    if view.startswith("["):
        text = text.replace(view, f"'{view}'")
    (said,) = said_of(agencies_of(tmp_path, {"a.yaml": text}))
    assert said.startswith("3:7: view: ")


def test_every_missing_key_is_told_at_once(tmp_path: Path) -> None:
    assert said_of(agencies_of(tmp_path, {"a.yaml": "mode: live\n"})) == [
        "1:1: database: is missing, accepted: the URL of the agency's database",
        "1:1: name: is missing, accepted: the agency's full name",
        "1:1: view: is missing, accepted: the name of the agency's view",
    ]


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = "name: A\nview: v\ndatabase: ${DB}\ncolumns: {x: y}\nchanged_by: z\nfoo: 1\nnotices: {gone: {text: '{q}'}}\n"
    said = [one.split(" ")[1] for one in said_of(agencies_of(tmp_path, {"a.yaml": text}))]
    assert said == ["database:", "columns.x:", "changed_by:", "foo:", "notices.gone:", "notices.gone.text:"]


BAD_FILES: list[tuple[str, str | bytes, str, str]] = [
    ("Nha Trang.yaml", AGENCY, "Nha Trang", "is no agency's id, accepted: at most 64 of a-z 0-9 and -"),
    ("nha_trang.yaml", AGENCY, "nha_trang", "is no agency's id"),
    ("x" * 65 + ".yaml", AGENCY, "x" * 64, "is no agency's id"),
    ("a.yml", AGENCY, "a", "its name ends in .yml, accepted: names ending in .yaml"),
    ("a.YAML", AGENCY, "a", "its name ends in .YAML, accepted: names ending in .yaml"),
    ("a.yaml", b"name: \xff\n", "a", "1:7: file: is not UTF-8 text"),
    ("a.yaml", "a: &x [*x, *x]\n", "a", "is an anchor or alias"),
    ("a.yaml", "a: " + "[" * 50, "a", "is nested deeper than 20 levels"),
]


@pytest.mark.parametrize(("name", "content", "id_", "said"), BAD_FILES)
def test_a_file_that_cannot_be_an_agencys_is_a_problem_of_its_own(
    tmp_path: Path, name: str, content: str | bytes, id_: str, said: str
) -> None:
    files = agencies_of(tmp_path, {name: content, "fine.yaml": AGENCY})
    assert list(files.agencies) == ["fine"]
    assert list(files.problems) == [id_]
    assert any(said in one for one in said_of(files, id_))


def test_a_second_spelling_of_an_agencys_file_does_not_touch_the_first(tmp_path: Path) -> None:
    files = agencies_of(tmp_path, {"a.yml": AGENCY, "a.yaml": AGENCY})
    assert list(files.agencies) == ["a"]
    assert list(files.problems) == ["a.yml"]


def test_what_editors_and_packages_leave_behind_is_no_agencys(tmp_path: Path) -> None:
    names = (".a.yaml", "a.yaml~", "a.yaml.dpkg-dist", ".#a.yaml", "#a.yaml#", "README.md", "a.yaml.swp")
    assert agencies_of(tmp_path, dict.fromkeys(names, "{")) == AgencyFiles()


def test_a_folder_in_an_agencys_place_is_told(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    (tmp_path / "agencies" / "a.yaml").mkdir()
    (tmp_path / "agencies" / "b.yaml").symlink_to(tmp_path / "nowhere")
    files = read_agencies(settings, {})
    assert said_of(files, "a") == ["1:1: file: is not a file, accepted: a YAML file"]
    assert said_of(files, "b") == ["1:1: file: does not exist, accepted: a YAML file"]


def test_an_agencies_folder_that_vanished_is_told(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    (tmp_path / "agencies").rmdir()
    with pytest.raises(ConfigError, match="the folder cannot be read: No such file or directory"):
        read_agencies(settings, {})


def at(url: str, view: str = "v", filter_: str = "") -> str:
    return f"name: A\nmode: shadow\ndatabase: {url}\nview: {view}\n" + (
        f"filter: {{{filter_}}}\n" if filter_ else ""
    )


CLASHES = [
    (at("sqlite:////x.db"), at("sqlite:////x.db")),
    (at("sqlite:////x.db", filter_="A: 1"), at("sqlite:////x.db", filter_="A: 1")),
    (at("sqlite:////x.db", filter_="A: 1"), at("sqlite:////x.db", filter_="A: '1'")),
    (at("sqlite:////x.db", filter_="A: 1, B: 2"), at("sqlite:////x.db", filter_="b: 2, a: 1")),
    (at("postgresql+psycopg2://u:p@h/d"), at("postgresql+psycopg2://other:q@H:5432/d?connect_timeout=3")),
    (at("mssql+pyodbc://u:p@h/d?driver=FreeTDS", "dbo.V"), at("mssql+pyodbc://u:p@h:1433/d", "dbo.v")),
]


@pytest.mark.parametrize(("one", "other"), CLASHES)
def test_two_agencies_that_would_read_the_same_rows_are_both_left_out(
    tmp_path: Path, one: str, other: str
) -> None:
    files = agencies_of(tmp_path, {"a.yaml": one, "b.yaml": other, "c.yaml": AGENCY})
    assert list(files.agencies) == ["c"]
    assert said_of(files, "a")[0].endswith(
        "filter: reads the same database, view and filter as b, accepted: a filter of its own"
    )
    assert said_of(files, "b")[0].endswith("as a, accepted: a filter of its own")
    assert said_of(files, "a")[0].startswith("5:1: " if "filter" in one else "1:1: ")


DISTINCT = [
    (at("sqlite:////x.db", filter_="A: 1"), at("sqlite:////x.db", filter_="A: 2")),
    (at("sqlite:////x.db"), at("sqlite:////x.db", filter_="A: 2")),
    (at("sqlite:////x.db"), at("sqlite:////y.db")),
    (at("sqlite:////x.db", "v"), at("sqlite:////x.db", "w")),
    (at("postgresql+psycopg2://u:p@h/d"), at("postgresql+psycopg2://u:p@h/e")),
    (at("postgresql+psycopg2://u:p@h/d"), at("postgresql+psycopg2://u:p@h:5433/d")),
    (at("postgresql+psycopg2://u:p@/d?host=/run/a"), at("postgresql+psycopg2://u:p@/d?host=/run/b")),
]


@pytest.mark.parametrize(("one", "other"), DISTINCT)
def test_agencies_that_differ_in_database_view_or_filter_live_side_by_side(
    tmp_path: Path, one: str, other: str
) -> None:
    assert list(agencies_of(tmp_path, {"a.yaml": one, "b.yaml": other}).agencies) == ["a", "b"]


def test_an_agency_that_is_off_loads_without_its_credential_and_says_so(tmp_path: Path) -> None:
    text = f"name: A\nmode: off\ndatabase: {URL}\nview: v\n"
    agency = agencies_of(tmp_path, {"a.yaml": text}).agencies["a"]
    assert len(agency.unset) == 1
    assert agency.unset[0].startswith("the credential p is not set")


def test_a_database_that_is_one_unset_reference_does_not_stop_an_agency_that_is_off(tmp_path: Path) -> None:
    texts = {f"{id_}.yaml": f"name: A\nmode: off\ndatabase: ${{{id_}}}\nview: v\n" for id_ in ("a", "b")}
    assert list(agencies_of(tmp_path, texts).agencies) == ["a", "b"]


@pytest.mark.parametrize("mode", ["mode: live\n", "mode: shadow\n", ""])
def test_an_agency_that_takes_part_needs_its_credential(tmp_path: Path, mode: str) -> None:
    files = agencies_of(tmp_path, {"a.yaml": f"name: A\n{mode}database: {URL}\nview: v\n"})
    (said,) = said_of(files)
    assert "database: the credential p is not set" in said


def test_an_agency_that_is_off_is_otherwise_read_as_strictly_as_any(tmp_path: Path) -> None:
    files = agencies_of(tmp_path, {"a.yaml": f"name: ${{NAME}}\nmode: off\ndatabase: {URL}\nview: v\nx: 1\n"})
    assert [said.split(" ")[1] for said in said_of(files)] == ["name:", "x:"]


def test_agencies_and_their_mistakes_show_no_secret(tmp_path: Path) -> None:
    environ = {"S": "hunter2"}
    texts = {
        "fine.yaml": "name: A\nshort_name: '${S}'\ndatabase: postgresql+psycopg2://u:${S}@h/d\nview: v\n"
        "filter: {A: '${S}'}\n",
        "bad.yaml": "name: A\ndatabase: oracle://u:${S}@h/d\nview: '[${S}]'\nmode: '${S}'\n"
        "changed_by: '${S}'\nfilter: {A: '${S}'}\n",
        "worse.yaml": "name: A\ndatabase: postgresql://u:hunter2@h/d\nview: v\npasword: hunter2\n",
    }  # fmt: skip
    files = agencies_of(tmp_path, texts, environ)
    assert files.agencies["fine"].short_name == "hunter2"
    assert list(files.problems) == ["bad", "worse"]
    assert "hunter2" not in repr(files) + "".join(map(str, files.problems.values()))
