import json
import re
from pathlib import Path

import pytest

from escnet.class_lists.file import MAX_FILE_BYTES
from escnet.errors import ConfigError, VocabularyError
from escnet.vocabulary import MAX_LABELS, Vocabulary


def test_a_line_of_labels_with_synonyms() -> None:
    vocabulary = Vocabulary.parse("road, car=car|truck|van, sky")
    assert vocabulary.labels == ("road", "car", "sky")
    assert vocabulary.queries == ("road", "car", "truck", "van", "sky")
    assert vocabulary.owner == (0, 1, 1, 1, 2)
    assert len(vocabulary) == 3


def test_a_label_need_not_be_among_its_queries() -> None:
    vocabulary = Vocabulary.parse("car=automobile, vehicle=car")
    assert (vocabulary.labels, vocabulary.queries) == (("car", "vehicle"), ("automobile", "car"))


def test_a_backslash_makes_separators_ordinary() -> None:
    vocabulary = Vocabulary.parse(r"rock\, paper, a\=b=c\|d|e\\, \#1, C:\temp")
    assert vocabulary.labels == ("rock, paper", "a=b", "#1", r"C:\temp")
    assert vocabulary.queries == ("rock, paper", "c|d", "e\\", "#1", r"C:\temp")


def test_names_are_trimmed_collapsed_and_composed() -> None:
    vocabulary = Vocabulary.parse("  traffic \t\u00a0 light , cafe\u0301=  cafe\u0301 \n")
    assert vocabulary.labels == ("traffic light", "caf\u00e9")
    assert vocabulary.queries == ("traffic light", "caf\u00e9")


REMOVED = [*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))]
REMOVED += ["\ufeff", "\u200b", "\u2060", "\u00ad", "\u200e", "\u200f"]


@pytest.mark.parametrize("character", REMOVED)
def test_characters_that_nobody_sees_are_taken_out(character: str) -> None:
    name = f" {character} hot{character} {character}dog{character}"
    assert Vocabulary.of([name]).labels == ("hot dog",)
    assert Vocabulary.of({"sausage": [name]}).queries == ("hot dog",)
    with pytest.raises(VocabularyError, match="class name 2, 'dog', repeats class name 1, 'dog'"):
        Vocabulary.of(["dog", f"do{character}g"])
    with pytest.raises(VocabularyError, match="class name 2 is empty"):
        Vocabulary.of(["dog", character])


def test_joiners_stay_in_names_that_need_them_and_make_no_second_name() -> None:
    names = ("\u0646\u06cc\u0645\u200c\u0641\u0627\u0635\u0644\u0647", "\U0001f468\u200d\U0001f33e")
    assert Vocabulary.of(names).queries == names
    with pytest.raises(VocabularyError, match="repeats class name 1, 'dog'"):
        Vocabulary.of(["dog", "dog\u200d"])


def test_flags_that_differ_by_their_tags_are_two_names() -> None:
    flags = ["".join(chr(0xE0000 + ord(letter)) for letter in end) for end in ("gbeng", "gbsct")]
    assert len(Vocabulary.of([f"\U0001f3f4{tags}\U000e007f" for tags in flags])) == 2


def test_names_that_differ_by_an_accent_are_two_names() -> None:
    assert len(Vocabulary.parse("pate, pat\u00e9")) == 2


def test_upper_case_is_kept() -> None:
    assert Vocabulary.parse("Eiffel Tower").labels == ("Eiffel Tower",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no class names given"),
        (" \n ", "no class names given"),
        ("road,, sky", "class name 2 is empty"),
        ("road, sky,", "class name 3 is empty"),
        ("road, \u200b\u200d", "class name 2 is empty"),
        ("=road", "class name 1 is empty"),
        ("car=", "class name 1, 'car', query 1 is empty"),
        ("car=van|", "class name 1, 'car', query 2 is empty"),
        ("a=b=c", r"class name 1, 'a=b=c', has 2 signs '=': write \\= for"),
        ("sky, car|van", r"class name 2, 'car\|van', lists synonyms without a label"),
        ("road, sky, Road", "class name 3, 'Road', repeats class name 1, 'road': leave one out"),
        ("caf\u00e9, CAFE\u0301", "class name 2, 'CAFÉ', repeats class name 1"),
        (
            "car=car|van, lorry=Van",
            "class name 2, 'lorry', repeats the query 'Van' of class name 1",
        ),
        ("van, car=car|van", "class name 2, 'car', repeats the query 'van' of class name 1, 'van'"),
        ("car=car|car", "class name 1, 'car', repeats the query 'car' of class name 1, 'car'"),
        ("road\nsky", r"holds the unprintable character U\+000A: .* separate the names by commas"),
        ("a\x00b", r"'a\\x00b', holds the unprintable character U\+0000"),
        ("a\u2028b", r"U\+2028"),
        ("\udc80", r"U\+DC80"),
    ],
)
def test_a_wrong_line_is_told_where_and_why(text: str, message: str) -> None:
    with pytest.raises(VocabularyError, match=message) as caught:
        Vocabulary.parse(text)
    assert str(caught.value).isprintable()


def test_sixty_four_words_are_read_and_sixty_five_are_not() -> None:
    assert len(Vocabulary.parse("word " * 64).labels) == 1
    message = "class name 2, 'word word .*…', has 65 words, but at most 64 are read: shorten it"
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.parse("sky," + "word " * 65)


def test_a_thousand_characters_are_read_and_one_more_is_not() -> None:
    assert Vocabulary.parse("x" * 1000).labels == ("x" * 1000,)
    with pytest.raises(VocabularyError, match="has 1,001 characters, but at most 1,000 are read"):
        Vocabulary.of(["x" * 1001])


def test_as_many_names_as_a_label_map_holds_are_read_and_one_more_is_not() -> None:
    names = [f"thing {i}" for i in range(MAX_LABELS + 1)]
    assert len(Vocabulary.of(names[:-1], has_background=True).result_names) == 65_535
    with pytest.raises(VocabularyError, match="more than 65,534 class names"):
        Vocabulary.of(names)


def test_literal_names_know_no_grammar() -> None:
    assert Vocabulary.of(["a, b", "c=d|e", "#f"]).queries == ("a, b", "c=d|e", "#f")


def test_python_gives_names_in_four_ways() -> None:
    parsed = Vocabulary.of("road, car=car|van")
    assert Vocabulary.of({"road": "road", "car": ["car", "van"]}) == parsed
    assert Vocabulary.of(name for name in ("road", "sky")).labels == ("road", "sky")
    assert Vocabulary.of(parsed) is parsed


def test_the_background_comes_last_and_has_no_query() -> None:
    vocabulary = Vocabulary.of("road, sky", has_background=True)
    assert vocabulary.result_names == ("road", "sky", "background")
    assert vocabulary.queries == ("road", "sky")
    assert Vocabulary.of(vocabulary).has_background
    assert Vocabulary.of("road, sky").with_background() == vocabulary
    assert Vocabulary.of(Vocabulary.of("road, sky"), has_background=True) == vocabulary


def test_without_the_background_the_result_has_the_labels_only() -> None:
    assert Vocabulary.of("road, sky").result_names == ("road", "sky")


def test_a_label_called_background_excludes_the_background_class() -> None:
    assert Vocabulary.of("background").labels == ("background",)
    with pytest.raises(VocabularyError, match="class name 2, 'Background', is also what"):
        Vocabulary.of("sky, Background", has_background=True)


def test_a_template_takes_each_query_as_it_is() -> None:
    vocabulary = Vocabulary.of(["{}", "a {0} b", r"\1"])
    assert vocabulary.templated("A {} in the scene") == (
        "A {} in the scene",
        "A a {0} b in the scene",
        r"A \1 in the scene",
    )


@pytest.mark.parametrize("template", ["A photo", "{} and {}", "{name}"])
def test_a_template_without_exactly_one_place_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match=rf"template '{re.escape(template)}' holds {{}} \d times"):
        Vocabulary.of("sky").templated(template)


def test_a_text_file_has_one_entry_a_line(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeff# streets\r\nroad\\, wet\r\n\r\n  # cars\ncar=car|van\r\\#1".encode())
    vocabulary = Vocabulary.read(path)
    assert vocabulary.labels == ("road, wet", "car", "#1")
    assert vocabulary.owner == (0, 1, 1, 2)


def test_a_byte_order_mark_within_a_text_file_is_no_part_of_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("road\n\ufeff# animals\n\ufeffdog\n \ufeff\n\ufeff\ufeffcat\n", "utf-8")
    assert Vocabulary.read(path).labels == ("road", "dog", "cat")


def test_an_error_in_a_text_file_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("# comment\n\nroad\nsky\nroad\n")
    message = rf"line 5 of {path}, 'road', repeats line 3 of {path}, 'road'"
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.read(path)


def test_json_holds_literal_names_or_queries_by_label(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text('["road, wet", "a=b"]', encoding="utf-8-sig")
    assert Vocabulary.read(path).queries == ("road, wet", "a=b")
    path.write_text(json.dumps({"car": ["car", "van"], "sky": "blue sky"}))
    vocabulary = Vocabulary.read(str(path), has_background=True)
    assert vocabulary.result_names == ("car", "sky", "background")
    assert vocabulary.queries == ("car", "van", "blue sky")


@pytest.mark.parametrize(
    "table",
    [
        *({key: ["cat", "night sky"]} for key in ("classes", "names", "labels", "categories")),
        {
            "name": "mine",
            "num_classes": 2,
            "classes": ["cat", "night sky"],
            "palette": [[0, 0, 0], [9, 9, 9]],
        },
        {"classes": ["cat", "night sky"], "sources": {"a": {"annotated": [0]}}},
        {
            "note": "one",
            "datasets": {"a": {"has_background": True, "classes": ["cat", "night sky"]}},
        },
        {"1": "night sky", "0": "cat"},
    ],
)
def test_the_list_of_names_in_json_of_another_use_is_read(
    table: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(table))
    vocabulary = Vocabulary.read(path)
    assert (vocabulary.labels, vocabulary.queries) == (("cat", "night sky"), ("cat", "night sky"))


def test_a_map_of_index_to_name_is_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "id2label.json"
    numbers = sorted(map(str, range(12)))  # "10" stands before "2"
    path.write_text(json.dumps({number: f"thing {number}" for number in numbers}))
    assert Vocabulary.read(path).labels == tuple(f"thing {i}" for i in range(12))


def test_a_label_may_be_a_number_if_its_queries_are_a_list(tmp_path: Path) -> None:
    path = tmp_path / "digits.json"
    path.write_text('{"3": ["digit three"], "7": "digit seven"}')
    assert Vocabulary.read(path).labels == ("3", "7")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no class names"),
        ('["road",\n', "is not JSON .* at line 2"),
        ("[" * 100_000, "nested too deeply"),
        (f"[{'1' * 5_000}]", "number too long"),
        ("3", "could be a number without its name or a name that is a number"),
        ("[]", "holds no class names"),
        ("{}", "holds no class names"),
        ('["road", 3]', "class name 2 of .*names.json is of type int: class names are strings"),
        ('["road", null]', "class name 2 of .*names.json is of type NoneType"),
        ('{"car": 3.5}', "no list of class names under a key that is known here .it has 'car'"),
        ('{"car": {"a": "b"}}', "has no list of class names under a key"),
        ('{"car": []}', "'car', has no query"),
        ('{"car": ["van", 3]}', "'car', query 2 is of type int"),
        ('{"car": "a", "car": "b"}', "has label 'car' twice"),
        ('{"classes": []}', "holds no class names"),
        ('{"classes": [{"id": 1}]}', "class name 1 of .*names.json is of type dict"),
        (
            '{"labels": ["label", "tag"], "car": ["car", "van"]}',
            "has a list under 'labels' and one under 'car': keep .* label=query.query into a .txt",
        ),
        (
            '{"datasets": {"a": {"classes": ["cat"]}, "b": {"classes": ["dog"]}}}',
            "class names of 2 datasets .the first is 'a'.: copy the list 'classes' of one of them",
        ),
        ('{"datasets": {}}', "has no list of class names under a key"),
        ('{"datasets": {"a": 3}}', "has no list of class names under a key"),
        ('{"1": "2", "2": "1"}', "could be names by number or numbers by name"),
        ('["\\ud800"]', r"U\+D800"),
    ],
)
def test_wrong_json_is_told_where_and_why(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text(text)
    with pytest.raises(VocabularyError, match=message) as caught:
        Vocabulary.read(path)
    assert str(caught.value).isprintable()


def test_a_file_that_cannot_hold_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "latin.txt").write_bytes("rôle\n".encode("latin-1"))
    (tmp_path / "zeros.txt").write_bytes(bytes(99))
    (tmp_path / "comments.txt").write_text("# nothing\n\n")
    (tmp_path / "tree.xml").write_text("<a><b/></a>")
    (tmp_path / "large.txt").write_bytes(b"a" * (MAX_FILE_BYTES + 1))
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    for name, message in {
        "missing.txt": "missing.txt does not exist: check the path of the class names",
        "folder.txt": "is a folder",
        "latin.txt": "not UTF-8 text .byte 0xf4 at 1.: save it as UTF-8",
        "zeros.txt": "begins with null bytes.: save it as UTF-8",
        "comments.txt": "holds no class names",
        "tree.xml": "is XML without labels",
        "large.txt": "larger than 16 MiB",
        "loop.txt": "cannot be read",
        "null\0.txt": "cannot be read",
        "n" * 300 + ".txt": "cannot be read",
    }.items():
        with pytest.raises(VocabularyError, match=message) as caught:
            Vocabulary.read(tmp_path / name)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("names", [{"cup", "table"}, frozenset({"cup"}), {"cup": {"cup", "mug"}}])
def test_names_in_a_set_are_refused_as_their_order_differs_from_run_to_run(names: object) -> None:
    with pytest.raises(VocabularyError, match=r"set, whose order differs .* sorted\(names\)"):
        Vocabulary.of(names)


def test_the_keys_of_a_dictionary_have_an_order() -> None:
    assert Vocabulary.of({"table": 1, "cup": 2}.keys()).labels == ("table", "cup")


def test_underscores_are_spaces_to_the_text_tower_and_stay_in_the_label() -> None:
    vocabulary = Vocabulary.of(["traffic_light", "_stop__sign_", "__"])
    assert vocabulary.labels == ("traffic_light", "_stop__sign_", "__")
    assert vocabulary.templated("a {}.") == ("a traffic light.", "a stop sign.", "a __.")


def test_names_that_differ_by_underscores_are_one_name() -> None:
    with pytest.raises(VocabularyError, match="'traffic light', repeats class name 1"):
        Vocabulary.of(["traffic_light", "traffic light"])


@pytest.mark.parametrize("name", ["@names.txt", "names.txt", "data.YAML", "a/labels.csv"])
def test_a_lone_name_that_is_a_file_is_no_class(name: str) -> None:
    with pytest.raises(VocabularyError, match="looks like a file: give it as --classes-file"):
        Vocabulary.of(name)


@pytest.mark.parametrize("names", ["cup; table; spoon", "cup. table. spoon.", "cup . table"])
def test_names_between_other_separators_than_commas_are_not_taken_for_one(names: str) -> None:
    with pytest.raises(VocabularyError, match=r"could be \d names between .* or one: put commas"):
        Vocabulary.parse(names)


def test_a_path_is_no_list_of_names() -> None:
    with pytest.raises(VocabularyError, match=r"read it by Vocabulary\.read"):
        Vocabulary.of(Path("names.txt"))
