import pytest

from escnet.errors import ConfigError
from escnet.evaluation.protocol import PAPER_PROTOCOL, WHOLE_VIEW

CLASSES = ["cat", "door, double door"]


def test_the_papers_protocol_leaves_itself_nowhere() -> None:
    assert PAPER_PROTOCOL.deviations(PAPER_PROTOCOL, CLASSES) == []


def test_a_deviation_says_both_values() -> None:
    changed = PAPER_PROTOCOL.with_changes(size=800, overlap=0.5, names="synonyms")
    assert changed.deviations(PAPER_PROTOCOL, CLASSES) == [
        "size: 640 -> 800",
        "overlap: 0.3333 -> 0.5",
        "names: first -> synonyms",
    ]


def test_without_windows_their_settings_are_no_deviation() -> None:
    changed = PAPER_PROTOCOL.with_changes(view="whole", size=800)
    assert changed.deviations(PAPER_PROTOCOL, CLASSES) == ["view: windows -> whole"]


def test_the_windows_of_what_is_otherwise_seen_as_a_whole_are_told() -> None:
    changed = WHOLE_VIEW.with_changes(view="windows", size=640, global_view=False)
    assert changed.deviations(WHOLE_VIEW, CLASSES) == [
        "view: whole -> windows",
        "size: own -> 640",
        "global_view: True -> False",
    ]


def test_how_synonyms_are_asked_is_no_deviation_where_no_name_lists_any() -> None:
    changed = PAPER_PROTOCOL.with_changes(names="whole")
    assert changed.deviations(PAPER_PROTOCOL, ["cat", "traffic light"]) == []
    assert changed.deviations(PAPER_PROTOCOL, ["cat", "light; lamp"]) == ["names: first -> whole"]


def test_what_is_not_set_stays() -> None:
    assert PAPER_PROTOCOL.with_changes(view=None, global_view=None) == PAPER_PROTOCOL
    assert not PAPER_PROTOCOL.with_changes(global_view=False).global_view


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("view", "both", r"view is 'both': .*'whole' or 'windows'"),
        ("overlap", 1.0, r"overlap is 1\.0"),
        ("window", 3, "window is 3"),
        ("template", "a photo", r"template is 'a photo': write \{\} once"),
        ("vocabulary", "oracle", "vocabulary is 'oracle'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(field: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WHOLE_VIEW.with_changes(**{field: value})
