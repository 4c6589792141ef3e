"""XML with class names: Label Studio's labelling config and CVAT's annotations.xml.

Documents that declare types or entities are refused, so nothing expands and nothing is fetched.
"""

from dataclasses import dataclass, field
from xml.parsers import expat

from escnet.class_lists.class_list import (
    ClassList,
    ListedName,
    counted,
    display_text,
    tools_list,
)
from escnet.class_lists.values import color_of
from escnet.errors import VocabularyError

_MAX_DEPTH = 64
_CVAT_LABEL = ["labels", "label"]


@dataclass
class _Document:
    """What a document holds: the labels of each control of Label Studio, and CVAT's."""

    path: list[str] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)  # "BrushLabels 'tag'", innermost last
    by_control: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # name, colour
    cvat: list[list[str]] = field(default_factory=list)  # name, colour
    text: list[str] = field(default_factory=list)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.path.append(tag)
        self.text.clear()
        if len(self.path) > _MAX_DEPTH:
            raise VocabularyError("nested too deeply")
        if tag.endswith("Labels"):
            self.controls.append(f"{tag} {display_text(attributes.get('name', ''))}")
        elif tag == "Label" and self.controls:
            name = attributes.get("value") or attributes.get("alias") or ""
            labels = self.by_control.setdefault(self.controls[-1], [])
            labels.append((name, attributes.get("background", "")))
        elif self.path[-2:] == _CVAT_LABEL:
            self.cvat.append(["", ""])

    def end(self, tag: str) -> None:
        if tag.endswith("Labels") and self.controls:
            self.controls.pop()
        if self.path[-3:-1] == _CVAT_LABEL and tag in {"name", "color"}:
            self.cvat[-1][tag == "color"] = "".join(self.text).strip()
        self.path.pop()


def read_xml(text: str, shown: str) -> ClassList:
    """The class list in XML text.

    Raises:
        VocabularyError: If it is no XML, declares a document type, or has no labels, or those of
            two controls that differ.
    """
    document = _Document()

    def refuse(*_: object) -> None:
        raise VocabularyError("it declares a document type, which is not read")

    parser = expat.ParserCreate("utf-8")  # whatever the declaration says of the file
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = document.start
    parser.EndElementHandler = document.end
    parser.CharacterDataHandler = document.text.append
    try:
        parser.Parse(text.strip().encode(), True)
    except expat.ExpatError as error:
        reason = f"{expat.ErrorString(error.code)} at line {error.lineno}"
        raise VocabularyError(f"{shown} is not XML ({reason}): correct it there") from None
    except VocabularyError as error:
        raise VocabularyError(f"{shown} is no list of class names ({error})") from None
    if document.by_control:
        kind, labels = "Label Studio's config", _of_one_control(document.by_control, shown)
    elif document.cvat:
        kind, labels = "CVAT's annotations.xml", [(name, color) for name, color in document.cvat]
    else:
        raise VocabularyError(
            f"{shown} is XML without labels: Label Studio's config has them as "
            '<BrushLabels ...><Label value="cup"/></BrushLabels>'
        )
    rows = [
        ListedName(f"class name {i} of {shown}", name, [name], None, color_of(color))
        for i, (name, color) in enumerate(labels, 1)
    ]
    return tools_list(shown, kind, rows, ["colours"] if any(c for _, c in labels) else [])


def _of_one_control(
    by_control: dict[str, list[tuple[str, str]]], shown: str
) -> list[tuple[str, str]]:
    (first, labels), *others = by_control.items()
    names = [name for name, _ in labels]
    for other, different in others:
        if [name for name, _ in different] != names:
            raise VocabularyError(
                f"{shown} has {counted(len(labels), 'label')} in {first} and others in {other}: "
                "keep the control whose labels are the class names"
            )
    for name in names:
        if name.startswith("$"):
            raise VocabularyError(
                f"{shown} takes its labels from the task's data ({display_text(name)}): "
                "write the class names into a file, one a line"
            )
    return labels
