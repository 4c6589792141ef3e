"""Class names in plain data: what JSON, YAML and Python files with lists of classes hold.

Recognised by content: lists of names; objects from label to queries, from number or colour to
name, and from name to number or colour; and the keys under which tools have such a list (COCO,
CVAT, YOLO, Hugging Face, FiftyOne, mmsegmentation, detectron2).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from escnet.class_lists.class_list import (
    ClassList,
    ListedName,
    by_number,
    counted,
    display_text,
    tools_list,
)
from escnet.class_lists.values import color_of, number_of
from escnet.errors import VocabularyError

_KINDS_BY_KEY = {
    "categories": "COCO's categories",
    "classes": "the list 'classes'",
    "names": "YOLO's names",
    "labels": "the list 'labels'",
    "id2label": "id2label of a Hugging Face config",
    "label2id": "label2id of a Hugging Face config",
    "mask_targets": "FiftyOne's mask_targets",
    "default_mask_targets": "FiftyOne's default_mask_targets",
    "stuff_classes": "detectron2's stuff_classes",
    "thing_classes": "detectron2's thing_classes",
}
_WORDS, _INDICES = ("class", "label", "name", "category"), ("id", "idx", "index")
# Other spellings, without case and signs.
_PLAIN_KEYS = frozenset(
    {"class", "classlist", "classnames", "label", "labelclasses", "labellist", "labelnames"}
    | {"labelmap", "labelset", "categorynames", "objectclasses"}
    | {f"{word}{to}{number}" for word in _WORDS for to in ("to", "2") for number in _INDICES}
    | {f"{number}{to}{word}" for word in _WORDS for to in ("to", "2") for number in _INDICES}
)
_PLAIN_KEY = re.compile(r".*(?:names|classes|labels|categories)")  # as in "cls_names"
_MAX_DEPTH = 8  # of an object within objects in which a list is looked for
_NEEDS_LIST = ("stuff_classes", "thing_classes")
# Lists of strings that stand beside the class names and are none.
_OTHER_KEYS = frozenset({"train", "val", "test", "architectures", "sources", "palette", "tags"})
_NAME_KEYS = (
    "readable",
    "display_name",
    "name",
    "title",
    "label",
    "class",
    "class_name",
    "category_name",
    "value",
)
_NUMBER_KEYS = ("id", "class_id", "number", "value", "index")
_COLOR_KEYS = ("color", "colour", "rgb")
_SHOWN_KEYS = 3
_PLACEHOLDER = re.compile(r"LABEL_\d+")


def read_data(data: object, shown: str, form: str) -> ClassList:
    """The class list in plain data.

    Args:
        data: Lists, mappings with strings as keys, strings and numbers.
        shown: How messages call the file.
        form: What it was written in, such as "JSON".

    Raises:
        VocabularyError: If there is no class list in it, or more than one reading of it.
    """
    if isinstance(data, Mapping):
        class_list = _of_mapping(data, shown, form)
    elif isinstance(data, list | tuple):
        class_list = _of_list(data, shown, f"a {form} list of names")
    else:
        raise VocabularyError(
            f"{shown} holds a {form} {type(data).__name__}, "
            "but class names are a list of strings, or an object of label to queries"
        )
    _refuse_placeholders(class_list)
    return class_list


def literal_rows(names: object, of_file: str) -> Iterable[ListedName]:
    """Rows of a mapping or an iterable, whose strings are names as they stand.

    Raises:
        VocabularyError: If the names are of another type, or in a set, which has no order.
    """
    _refuse_unordered(names, f"class names{of_file} are")
    if isinstance(names, Mapping):
        for position, (label, queries) in enumerate(names.items(), 1):
            where = f"class name {position}{of_file}"
            if isinstance(queries, str):
                queries = [queries]  # noqa: PLW2901 -- one query stands for a list of one
            elif isinstance(queries, Mapping | bytes) or not isinstance(queries, Iterable):
                raise VocabularyError(
                    f"{where}, {display_text(str(label))}, has queries of type "
                    f"{type(queries).__name__}: give it a string or a list of strings"
                )
            _refuse_unordered(queries, f"{where}, {display_text(str(label))}, has its queries")
            yield ListedName(where, label, list(queries))
    elif isinstance(names, Iterable) and not isinstance(names, bytes):
        for position, name in enumerate(names, 1):
            yield ListedName(f"class name {position}{of_file}", name, [name])
    else:
        raise VocabularyError(
            f"class names{of_file} are of type {type(names).__name__}: "
            "give a list of strings, or an object of label to queries"
        )


def _refuse_unordered(names: object, subject: str) -> None:
    if isinstance(names, set | frozenset):
        raise VocabularyError(
            f"{subject} in a {type(names).__name__}, whose order differs from run to run, "
            "and labels are positions: give a list, such as sorted(names)"
        )


def _of_mapping(table: Mapping[str, object], shown: str, form: str) -> ClassList:
    if isinstance(datasets := table.get("datasets"), Mapping):
        table = _only_dataset(table, datasets, shown)
    under_keys = {
        key: _under_key(key, value, shown, form)
        for key, value in table.items()
        if _kind_of_key(key) is not None
    }
    if readings := {
        key: class_list for key, class_list in under_keys.items() if class_list is not None
    }:
        return _with_palette(_one_of(readings, table, shown), table.get("palette"))
    for key in _KINDS_BY_KEY:
        if isinstance(value := table.get(key), str) and (
            form == "YAML" or re.search("[,;\n]", value)
        ):
            raise VocabularyError(
                f"{shown} has one string under {display_text(key)}, {display_text(value)}, which "
                "could be one name or several: write a list of names there"
            )
    if not table:
        raise VocabularyError(f"{shown} holds no class names: add some")
    if inner := _inner_tables(table):
        return _of_inner(inner, shown, form)
    return _of_map(table, shown, f"a {form} map")


def _kind_of_key(key: str) -> str | None:
    """Which list stands under a key; None if none that is known."""
    if key in _KINDS_BY_KEY:
        return _KINDS_BY_KEY[key]
    plain = re.sub(r"[\W_]", "", key.casefold())
    known = plain in _PLAIN_KEYS or (_PLAIN_KEY.fullmatch(plain) and plain not in _NEEDS_LIST)
    return f"the list {display_text(key)}" if known else None


def _inner_tables(table: Mapping[str, object], depth: int = 0) -> dict[str, Mapping[str, object]]:
    """The objects within an object that have a class list under a known key, by their keys."""
    inner: dict[str, Mapping[str, object]] = {}
    for key, value in table.items():
        if not isinstance(value, Mapping) or depth == _MAX_DEPTH:
            continue
        if _has_list(value):
            inner[key] = value
        else:
            inner.update({f"{key}.{k}": v for k, v in _inner_tables(value, depth + 1).items()})
    return inner


def _has_list(table: Mapping[str, object]) -> bool:
    return any(
        _kind_of_key(key) is not None and isinstance(value, list | tuple | Mapping) and value
        for key, value in table.items()
    )


def _of_inner(inner: Mapping[str, Mapping[str, object]], shown: str, form: str) -> ClassList:
    """The list of the one object that has one, or on which all that have one agree."""
    readings = {key: _of_mapping(value, shown, form) for key, value in inner.items()}
    return _one_of(readings, {}, shown)


def _with_palette(class_list: ClassList, palette: object) -> ClassList:
    """The list with the colours that stand beside it, as in mmsegmentation's METAINFO.

    Raises:
        VocabularyError: If there are more or fewer colours than names.
    """
    if not isinstance(palette, list) or any(row.color for row in class_list.names):
        return class_list
    colors = [color_of(one) for one in palette]
    if not colors or not all(color is not None for color in colors):
        return class_list
    if len(colors) != len(class_list.names):
        raise VocabularyError(
            f"{class_list.shown} has a palette of {len(colors)} colours for "
            f"{counted(len(class_list.names))}: give each name one"
        )
    names = tuple(
        replace(row, color=color) for row, color in zip(class_list.names, colors, strict=True)
    )
    return replace(class_list, names=names, left_out=(*class_list.left_out, "colours"))


def _only_dataset(
    table: Mapping[str, object], datasets: Mapping[str, object], shown: str
) -> Mapping[str, object]:
    if len(datasets) > 1:
        raise VocabularyError(
            f"{shown} has the class names of {len(datasets)} datasets "
            f"(the first is {display_text(str(next(iter(datasets))))}): "
            "copy the list 'classes' of one of them into a file of its own"
        )
    return next((one for one in datasets.values() if isinstance(one, Mapping)), table)


def _under_key(key: str, value: object, shown: str, form: str) -> ClassList | None:
    """The list under a key that tools use; None if what is there is no list."""
    kind = _kind_of_key(key) or key
    if key == "names" and form != "YAML":
        kind = "the list 'names'"
    if isinstance(value, list | tuple):
        return _of_list(value, shown, kind)
    if not isinstance(value, Mapping) or not value or key in _NEEDS_LIST:
        return None
    if _has_list(value):
        return _of_mapping(value, shown, form)
    if inner := _inner_tables(value):
        return _of_inner(inner, shown, form)
    fields = [one for one in value.values() if isinstance(one, Mapping)]
    if key.endswith("mask_targets") and len(fields) == len(value):
        readings = [_of_map(one, shown, kind) for one in fields]
        return _one_of(dict(zip(map(str, value), readings, strict=True)), {}, shown)
    return _of_map(value, shown, kind)


def _one_of(
    readings: Mapping[str, ClassList], table: Mapping[str, object], shown: str
) -> ClassList:
    """The list that all readings agree on."""
    (key, class_list), *others = readings.items()
    for other, reading in others:
        if _labels(reading) != _labels(class_list):
            raise _two_lists(key, other, shown)
    if "nc" in table and number_of(table["nc"]) != (count := len(class_list.names)):
        raise VocabularyError(
            f"{shown} says nc: {display_text(str(table['nc']), quoted=False)}, but has "
            f"{counted(count)}: correct one of the two"
        )
    # a label may be called like the key, and have its synonyms in the list
    for label, value in table.items():
        if label in readings or label in _OTHER_KEYS or not isinstance(value, list | tuple):
            continue
        if any(isinstance(one, str) for one in value):
            raise _two_lists(key, label, shown)
    return class_list


def _two_lists(key: str, other: str, shown: str) -> VocabularyError:
    return VocabularyError(
        f"{shown} has a list under {display_text(key)} and one under {display_text(other)}: keep "
        "the one with the class names, or write label=query|query into a .txt file"
    )


def _labels(reading: ClassList) -> list[object]:
    return [row.label for row in reading.names]


def _of_list(items: Sequence[object], shown: str, kind: str) -> ClassList:
    objects = [item for item in items if isinstance(item, Mapping) and _name_in(item)]
    if items and len(objects) == len(items):
        return _of_objects(objects, shown, kind)
    if len(items) == 1 and isinstance(items[0], str) and re.search(r"[,;]", items[0]):
        raise VocabularyError(
            f"{shown} is a list with the one name {display_text(items[0])}, which could be several "
            "names in one string: write each as a string of its own, or the label with its query"
        )
    rows = tuple(literal_rows(items, f" of {shown}"))
    if not rows:
        raise VocabularyError(f"{shown} holds no class names: add some")
    return ClassList(shown, kind, rows)


def _name_in(item: Mapping[str, object]) -> str | None:
    """The key of an object's name."""
    return next((key for key in _NAME_KEYS if isinstance(item.get(key), str)), None)


def _of_objects(items: Sequence[Mapping[str, object]], shown: str, kind: str) -> ClassList:
    rows, used = [], set()
    for position, item in enumerate(items, 1):
        name_key = _name_in(item)
        name = item[str(name_key)]
        number_key = next((key for key in _NUMBER_KEYS if number_of(item.get(key)) is not None), "")
        color_key = next((key for key in _COLOR_KEYS if color_of(item.get(key)) is not None), "")
        where = f"class name {position} of {shown}"
        number, color = number_of(item.get(number_key)), color_of(item.get(color_key))
        rows.append(ListedName(where, name, [name], number, color))
        used.update({name_key, number_key, color_key})
    left_out = ["colours"] if any(row.color for row in rows) else []
    others = dict.fromkeys(key for item in items for key in item if key not in used)
    if "attributes" in others:
        kind = "CVAT's labels JSON"
    elif "supercategory" in others or "isthing" in others:
        kind = _KINDS_BY_KEY["categories"]
    ordered, about_numbers = by_number(rows, shown)
    if "attributes" not in others and "title" not in used:  # those of CVAT, Supervisely: a server's
        rows = ordered
    left_out += [*about_numbers, *(display_text(key) for key in others)]
    return tools_list(shown, kind, rows, left_out)


def _of_map(table: Mapping[str, object], shown: str, kind: str) -> ClassList:
    """The list in a map, of which either side may be the names."""
    objects = [v for v in table.values() if isinstance(v, Mapping) and _name_in(v)]
    if len(objects) == len(table):
        numbered = _all(table, number_of)
        objects = [{"id": k, **v} if numbered else v for k, v in zip(table, objects, strict=True)]
        return _of_objects(objects, shown, kind)
    names = all(isinstance(value, str) for value in table.values())
    by_key = names and _all(table, number_of)
    by_value = _all(table.values(), number_of)
    if by_key and by_value:
        raise VocabularyError(
            f"{shown} maps numbers to numbers, which could be names by number or numbers by name: "
            "write the names as words"
        )
    pairs = [
        (key, value, f"class name {i} of {shown}")
        for i, (key, value) in enumerate(table.items(), 1)
    ]
    if by_key:
        rows = [ListedName(where, v, [v], number_of(key)) for key, v, where in pairs]
        rows, about_numbers = by_number(rows, shown)
        return tools_list(shown, f"{kind} from number to name", rows, about_numbers)
    if by_value:
        rows = [ListedName(where, key, [key], number_of(v)) for key, v, where in pairs]
        rows, about_numbers = by_number(rows, shown)
        return tools_list(shown, f"{kind} from name to number", rows, about_numbers)
    if names and _all(table, color_of):
        rows = [ListedName(where, v, [v], None, color_of(key)) for key, v, where in pairs]
        return tools_list(shown, f"{kind} from colour to name", rows, ["colours"])
    if _all(table.values(), color_of):
        rows = [ListedName(where, key, [key], None, color_of(v)) for key, v, where in pairs]
        return tools_list(shown, f"{kind} from name to colour", rows, ["colours"])
    if not all(isinstance(value, str | list | tuple) for value in table.values()):
        keys = ", ".join(display_text(key) for key in list(table)[:_SHOWN_KEYS])
        raise VocabularyError(
            f"{shown} has no list of class names under a key that is known here (it has {keys}): "
            "write the names into a file of their own, one a line"
        )
    _refuse_doubtful_map(table, shown)
    entries = tuple(literal_rows(table, f" of {shown}"))
    return ClassList(shown, f"{kind} from label to queries", entries)


def _refuse_doubtful_map(table: Mapping[str, object], shown: str) -> None:
    """Refuse one list under a key that is not known, and lists under 0, 1, ...

    Raises:
        VocabularyError: With both readings.
    """
    key, value = next(iter(table.items()))
    if isinstance(value, list | tuple) and len(value) > len(table) == 1 and _are_strings(value):
        raise VocabularyError(
            f"{shown} has one list under {display_text(key)}, which could be the class names or "
            f"the queries of this label: call it 'classes', or write {key}=QUERY|QUERY into a "
            ".txt file"
        )
    numbers = sorted(number for number in map(number_of, table) if number is not None)
    starts = {numbers[0]} & {0, 1} if len(numbers) == len(table) else set()
    has_synonyms = any(isinstance(one, list | tuple) and len(one) > 1 for one in table.values())
    if has_synonyms and starts and numbers == list(range(numbers[0], numbers[0] + len(table))):
        raise VocabularyError(
            f"{shown} has a list under each number, whose labels could be the numbers or the first "
            "of each list: write label=query|query into a .txt file"
        )


def _are_strings(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _all(values: Iterable[object], read: Callable[[object], object]) -> bool:
    return all(read(value) is not None for value in values)


def _refuse_placeholders(class_list: ClassList) -> None:
    labels = [row.label for row in class_list.names]
    if all(isinstance(label, str) and _PLACEHOLDER.fullmatch(label) for label in labels):
        raise VocabularyError(
            f"{class_list.shown} has the placeholder {labels[0]!r} for each name, "
            "which transformers writes where nobody gave names: write the names instead"
        )
