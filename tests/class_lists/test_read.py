"""Class lists as tools and people write them, each with the names that it means."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from escnet.class_lists.file import MAX_FILE_BYTES
from escnet.class_lists.read import read_class_list, recognise
from escnet.errors import VocabularyError
from escnet.vocabulary import Vocabulary


@dataclass(frozen=True)
class Case:
    text: str
    kind: str
    names: list[str]
    left_out: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()


COUNTED = ("the numbers 1 to 2",)

CASES = {
    "CVAT labelmap.txt": Case(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:48,112,32::\n"
        "traffic light:1,2,3::\n",
        "CVAT's labelmap.txt",
        ["background", "cat", "traffic light"],
        ("colours",),
        ("background",),
    ),
    "CVAT labelmap.txt with parts": Case(
        "cat:1,2,3:head,tail:run\ndog:::\n",
        "CVAT's labelmap.txt",
        ["cat", "dog"],
        ("colours", "parts and actions"),
    ),
    "CVAT labels JSON": Case(
        '[{"name": "cup", "id": 11, "color": "#ff0000", "type": "any", "attributes": []},'
        ' {"name": "table", "id": 12, "color": "#00ff00", "type": "any", "attributes": []}]',
        "CVAT's labels JSON",
        ["cup", "table"],
        ("colours", "the numbers 11 to 12", "'type'", "'attributes'"),
    ),
    "CVAT annotations.xml": Case(
        '<?xml version="1.0" encoding="utf-8"?><annotations><meta><task><name>kitchen</name>'
        "<labels><label><name>cup</name><color>#ff0000</color><attributes></attributes></label>"
        "<label><name>table &amp; chairs</name><color>#00ff00</color></label>"
        "</labels></task></meta></annotations>",
        "CVAT's annotations.xml",
        ["cup", "table & chairs"],
        ("colours",),
    ),
    "Label Studio config": Case(
        '<View><Image name="image" value="$image"/><BrushLabels name="tag" toName="image">'
        '<Label value="cup" background="#FFA39E"/><Label value="table"/></BrushLabels></View>',
        "Label Studio's config",
        ["cup", "table"],
        ("colours",),
    ),
    "Label Studio config with two controls of the same labels": Case(
        '<View><BrushLabels name="a" toName="i"><Label value="cup"/></BrushLabels>'
        '<PolygonLabels name="b" toName="i"><Label value="cup"/></PolygonLabels></View>',
        "Label Studio's config",
        ["cup"],
    ),
    "COCO instances": Case(
        '{"images": [], "annotations": [], "categories": ['
        '{"id": 3, "name": "car", "supercategory": "vehicle"},'
        '{"id": 1, "name": "person", "supercategory": "person"}]}',
        "COCO's categories",
        ["person", "car"],
        ("the numbers 1 to 3", "'supercategory'"),
    ),
    "COCO panoptic categories": Case(
        '[{"supercategory": "person", "color": [220, 20, 60], "isthing": 1, "id": 1,'
        ' "name": "person"},'
        ' {"supercategory": "sky", "color": [0, 1, 2], "isthing": 0, "id": 187,'
        ' "name": "sky-other"}]',
        "COCO's categories",
        ["person", "sky-other"],
        ("colours", "the numbers 1 to 187", "'supercategory'", "'isthing'"),
    ),
    "ADE20K objectInfo150.txt": Case(
        "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1576\t11664\t1172\t1\twall\n"
        "2\t0.1072\t6046\t612\t1\tbuilding, edifice\n4\t0.0621\t9679\t1067\t0\tfloor, flooring\n",
        "ADE20K's objectInfo150.txt",
        ["wall", "building, edifice", "floor, flooring"],
        (
            "the heading 'Idx, Ratio, Train, Val, Stuff, Name'",
            "the numbers 1 to 4",
            "the columns 'ratio', 'train', 'val', 'stuff'",
        ),
    ),
    "ADE20K objectInfo150.csv": Case(
        "Idx,Ratio,Train,Val,Stuff,Name\n1,0.1576,11664,1172,1,wall\n"
        "2,0.1072,6046,612,1,building;edifice\n",
        "ADE20K's objectInfo150.txt",
        ["wall", "building;edifice"],
        (
            "the heading 'Idx, Ratio, Train, Val, Stuff, Name'",
            "the numbers 1 to 2",
            "the columns 'ratio', 'train', 'val', 'stuff'",
        ),
    ),
    "COCO-Stuff labels.txt": Case(
        "0: unlabeled\n1: person\n2: bicycle\n",
        "a list of NUMBER: NAME",
        ["unlabeled", "person", "bicycle"],
        (),
        ("unlabeled",),
    ),
    "YOLO data.yaml with a map": Case(
        "path: ../kitchen\ntrain: images/train  # 120\nnc: 2\nnames:\n  0: cup\n  1: table\n",
        "YOLO's names from number to name",
        ["cup", "table"],
    ),
    "YOLO data.yaml with a list": Case(
        "train: [a, b]\nnames: ['no', on, traffic light]\n",
        "YOLO's names",
        ["no", "on", "traffic light"],
    ),
    "YOLO data.yaml with a list below": Case(
        "names:\n- cup\n- table\nroboflow:\n  license: MIT\n", "YOLO's names", ["cup", "table"]
    ),
    "Roboflow _classes.csv": Case(
        "Pixel Value, Class\n0, background\n1, cup\n2, table\n",
        "Roboflow's _classes.csv",
        ["background", "cup", "table"],
        ("the heading 'Pixel Value, Class'",),
        ("background",),
    ),
    "Roboflow _classes.csv of files": Case(
        "filename, cup, table\na.jpg, 1, 0\nb.jpg, 0, 1\n",
        "a table of files with a column for each name",
        ["cup", "table"],
        ("the files",),
    ),
    "Hugging Face config": Case(
        '{"model_type": "segformer", "architectures": ["SegformerForSemanticSegmentation"],'
        ' "id2label": {"1": "table", "0": "cup"}, "label2id": {"cup": 0, "table": 1}}',
        "id2label of a Hugging Face config",
        ["cup", "table"],
    ),
    "label2id": Case('{"table": 1, "cup": 0}', "map from name to number", ["cup", "table"]),
    "FiftyOne mask_targets": Case(
        '{"mask_targets": {"ground_truth": {"0": "background", "1": "cup", "2": "table"}}}',
        "FiftyOne's mask_targets",
        ["background", "cup", "table"],
        (),
        ("background",),
    ),
    "FiftyOne mask_targets by colour": Case(
        '{"mask_targets": {"#ff0000": "cup", "#00ff00": "table"}}',
        "FiftyOne's mask_targets from colour to name",
        ["cup", "table"],
        ("colours",),
    ),
    "mmsegmentation METAINFO": Case(
        "from mmseg.registry import DATASETS\n\n@DATASETS.register_module()\n"
        "class KitchenDataset(BaseSegDataset):\n    METAINFO = dict(\n"
        "        classes=('background', 'cup', 'table'),\n"
        "        palette=[[0, 0, 0], [255, 0, 0], [0, 255, 0]])\n",
        "the list 'classes'",
        ["background", "cup", "table"],
        ("colours",),
        ("background",),
    ),
    "Python tuple": Case("CLASSES = ('cup', 'table')\n", "Python list", ["cup", "table"]),
    "Python list alone": Case("['cup', 'table',]\n", "Python list", ["cup", "table"]),
    "Python dictionary": Case("{0: 'cup', 1: 'table'}", "Python map", ["cup", "table"]),
    "one line with commas": Case(
        "cup, table, traffic light\n", "between commas", ["cup", "table", "traffic light"]
    ),
    "one line with a comma at its end": Case("cup, table,", "between commas", ["cup", "table"]),
    "one line with semicolons": Case(
        "cup; table; spoon", "between semicolons", ["cup", "table", "spoon"]
    ),
    "one line with full stops": Case(
        "cup. table. spoon.", "between full stops", ["cup", "table", "spoon"]
    ),
    "GroundingDINO's prompt": Case(
        "cup . table . spoon", "between full stops", ["cup", "table", "spoon"]
    ),
    "a map from 1": Case(
        '{"1": "cup", "2": "table"}', "number to name", ["cup", "table"], ("the numbers 1 to 2",)
    ),
    "numbers with gaps and out of order": Case(
        "7\tspoon\n3\tcup\n", "NUMBER: NAME", ["cup", "spoon"], ("the numbers 3 to 7",)
    ),
    "a numbered list": Case(
        "1. cup\n2. table\n", "NUMBER: NAME", ["cup", "table"], ("the numbers 1 to 2",)
    ),
    "numbers and blanks": Case(
        "0 cup\n1 traffic light\n", "NUMBER: NAME", ["cup", "traffic light"]
    ),
    "name and number": Case("table: 1\ncup: 0\n", "NAME: VALUE", ["cup", "table"]),
    "name and colour": Case(
        "cup: #ff0000\ntable: #00ff00\n", "NAME: VALUE", ["cup", "table"], ("colours",)
    ),
    "CamVid label_colors.txt": Case(
        "64 128 64\tAnimal\n192 0 128\tArchway\n",
        "colours and names",
        ["Animal", "Archway"],
        ("colours",),
    ),
    "QGIS .clr": Case(
        "0 255 0 0 255 cup\n1 0 255 0 255 kitchen table\n",
        "colours and names",
        ["cup", "kitchen table"],
        ("colours",),
    ),
    "CamVid class_dict.csv": Case(
        "name,r,g,b\nAnimal,64,128,64\nArchway,192,0,128\n",
        "a table",
        ["Animal", "Archway"],
        ("the heading 'name, r, g, b'", "colours"),
    ),
    "a table without heading": Case("0,cup\n1,table\n", "a table", ["cup", "table"]),
    "a heading": Case(
        "class_name\ncup\ntable\n",
        "one name a line",
        ["cup", "table"],
        ("the heading 'class_name'",),
    ),
    "labelme labels.txt": Case(
        "__ignore__\n_background_\naeroplane\n",
        "labelme's labels.txt",
        ["_background_", "aeroplane"],
        ("'__ignore__'",),
        ("_background_",),
    ),
    "ImageNet's words": Case(
        "n01440764 tench, Tinca tinca\nn01443537 goldfish\n",
        "ImageNet",
        ["tench, Tinca tinca", "goldfish"],
        ("WordNet numbers",),
    ),
    "lines out of a program": Case(
        '"cup",\n"table",\n"spoon"\n',
        "one name a line",
        ["cup", "table", "spoon"],
        ("',' at the ends of lines", "quotes"),
    ),
    "a bulleted list": Case("- cup\n- table\n", "one name a line", ["cup", "table"], ("bullets",)),
    "Supervisely meta.json": Case(
        '{"classes": [{"title": "cup", "shape": "bitmap", "color": "#ff0000", "id": 1}],'
        ' "tags": []}',
        "the list 'classes'",
        ["cup"],
        ("colours", "the numbers 1 to 1", "'shape'"),
    ),
    "TensorFlow's label map": Case(
        "item {\n  id: 2\n  name: 'table'\n}\nitem {\n  id: 1\n  name: 'cup'\n}\n",
        "TensorFlow's label map",
        ["cup", "table"],
        ("the numbers 1 to 2",),
    ),
    "TensorFlow's label map with names to show": Case(
        '# objects\nitem {\n  name: "/m/02jvh9"\n  id: 1\n  display_name: "cup"\n}\n',
        "TensorFlow's label map",
        ["cup"],
        ("the numbers 1 to 1",),
    ),
    "SemanticKITTI's YAML": Case(
        'labels:\n  0 : "unlabeled"\n  10: "car"\ncolor_map:\n  0 : [0, 0, 0]\n',
        "the list 'labels' from number to name",
        ["unlabeled", "car"],
        ("the numbers 0 to 10",),
        ("unlabeled",),
    ),
    "YAML's objects": Case(
        "- name: cup\n  id: 0\n- name: table\n  id: 1\n", "a YAML list", ["cup", "table"]
    ),
    "YAML's list of words in brackets": Case(
        "[cup, traffic light]", "YAML", ["cup", "traffic light"]
    ),
    "JSON lines": Case(
        '{"id": 0, "name": "cup"}\n{"id": 1, "name": "table"}\n', "JSON lines", ["cup", "table"]
    ),
    "TOML": Case('[data]\nclasses = ["cup", "table"]\n', "the list 'classes'", ["cup", "table"]),
    "a list in an object in an object": Case(
        '{"info": 3, "data": {"meta": {"class_names": ["cup", "table"]}}}',
        "the list 'class_names'",
        ["cup", "table"],
    ),
    "idx_to_class": Case(
        '{"idx_to_class": {"1": "table", "0": "cup"}}', "number", ["cup", "table"]
    ),
    "a variable of a program": Case(
        "import os\nVOC_CLASSES = (\n    'cup',  # the first\n    'table',\n)\n",
        "a Python list",
        ["cup", "table"],
    ),
    "numbers in round brackets": Case("(0) cup\n(1) table\n", "NUMBER: NAME", ["cup", "table"]),
    "numbers in square brackets": Case("[0] cup\n[1] table\n", "NUMBER: NAME", ["cup", "table"]),
    "numbers and arrows": Case("0 -> cup\n1 → table\n", "NUMBER: NAME", ["cup", "table"]),
    "names and arrows": Case("table => 1\ncup => 0\n", "NAME: VALUE", ["cup", "table"]),
    "a number below 0": Case(
        "-1: license plate\n0: cup\n1: table\n",
        "NUMBER: NAME",
        ["cup", "table"],
        ("'license plate' (-1)",),
    ),
    "names and their count": Case("table 1\ncup 0\n", "one name a line", ["table 1", "cup 0"]),
    "names and their count in order": Case("cup 0\ntable 1\n", "NAME: VALUE", ["cup", "table"]),
    "names that end in numbers": Case("lane 0\nlane 1\n", "one name a line", ["lane 0", "lane 1"]),
    "hexadecimal colours first": Case(
        "#ff0000 cup\n#00ff00 table\n", "colours and names", ["cup", "table"], ("colours",)
    ),
    "names and colours in brackets": Case(
        "cup (255, 0, 0)\ntable (0, 255, 0)\n", "colours", ["cup", "table"], ("colours",)
    ),
    "letters that are digits as well": Case(
        "facade red\ndecade old\n", "one name a line", ["facade red", "decade old"]
    ),
    "a table of words with a heading": Case(
        "name,supercategory\ncup,kitchen\ntable,furniture\n",
        "a table",
        ["cup", "table"],
        ("the heading 'name, supercategory'", "the columns 'supercategory'"),
    ),
    "a table with a heading in German": Case(
        "Nummer;Bezeichnung\n0;Tür\n1;Wand\n",
        "a table",
        ["Tür", "Wand"],
        ("the heading 'Nummer, Bezeichnung'",),
    ),
    "numbers with a decimal point": Case(
        "id,name\n1.0,table\n0.0,cup\n", "a table", ["cup", "table"], ("the heading 'id, name'",)
    ),
    "one line with Chinese commas": Case(
        "杯子\uff0c桌子、勺子", "commas", ["杯子", "桌子", "勺子"]
    ),
    "a list to tick off": Case(
        "- [ ] cup\n- [x] table\n", "one name a line", ["cup", "table"], ("bullets",)
    ),
    "typographic quotes": Case("„Tür“\n„Wand“\n", "a line", ["Tür", "Wand"], ("quotes",)),
    "lines that end as on Windows, after a mark": Case(
        "\ufeffcup\r\ntable\r\n", "one name a line", ["cup", "table"]
    ),
    "quoted names beside numbers": Case(
        "0: 'cup',\n1: 'table'\n",
        "NUMBER: NAME",
        ["cup", "table"],
        ("',' at the ends of lines",),
    ),
    "Markdown": Case("1. **cup**\n2. **table**\n", "NUMBER: NAME", ["cup", "table"], COUNTED),
    "names as code": Case(
        "- `cup`\n- `table`\n", "a line", ["cup", "table"], ("bullets", "quotes")
    ),
    "sentences": Case("cup.\ntable.\n", "a line", ["cup", "table"], ("'.' at the ends of lines",)),
    "an enumeration": Case("a) cup\nb) table\n", "a line", ["cup", "table"], ("bullets",)),
    "quoted names with commas": Case(
        '"cup, mug"\n"table"\n', "a line", ["cup, mug", "table"], ("quotes",)
    ),
    "number, name and colour": Case(
        "1 table 0 255 0\n2 cup 255 0 0\n", "colours", ["table", "cup"], (*COUNTED, "colours")
    ),
    "a colour called so": Case(
        "cup rgb(255, 0, 0)\ntable rgb(0, 255, 0)\n", "colours", ["cup", "table"], ("colours",)
    ),
    "a heading above numbers and names": Case(
        "id: name\n1: table\n0: cup\n",
        "NUMBER: NAME",
        ["cup", "table"],
        ("the heading 'id: name'",),
    ),
    "FreeSurfer's colour table": Case(
        "#No. Label Name: R G B A\n0 Unknown 0 0 0 0\n2 White 245 245 245 0\n"
        "3 Cortex 205 62 78 0\n",
        "colours and names",
        ["Unknown", "White", "Cortex"],
        ("the numbers 0 to 3", "colours"),
    ),
    "ITK-SNAP's label descriptions": Case(
        "# ITK-SnAP Label Description File\n"
        '    0     0    0    0        0  0  0    "Clear Label"\n'
        '    1   255    0    0        1  1  1    "liver"\n',
        "ITK-SNAP",
        ["Clear Label", "liver"],
        ("colours",),
    ),
    "QGIS's colour map": Case(
        "# QGIS Generated Color Map Export File\nINTERPOLATION:EXACT\n"
        "1,255,0,0,255,cup\n2,0,255,0,255,table\n",
        "colours and names",
        ["cup", "table"],
        (*COUNTED, "colours"),
    ),
    "Excel's table with its separator": Case(
        'sep=;\n"id";"name"\n"0";"cup"\n"1";"table"\n',
        "a table",
        ["cup", "table"],
        ("the heading 'id, name'",),
    ),
    "a table in columns": Case(
        "id   name\n0    traffic light\n1    cup\n",
        "NUMBER: NAME",
        ["traffic light", "cup"],
        ("the heading 'id   name'",),
    ),
    "a table with counts": Case(
        "name,count\ncup,3\ntable,1\n",
        "a table",
        ["cup", "table"],
        ("the heading 'name, count'", "the columns 'count'"),
    ),
    "objects out of order": Case(
        '[{"id": 1, "label": "table"}, {"id": 0, "label": "cup"}]', "a JSON", ["cup", "table"]
    ),
    "objects under numbers": Case(
        '{"1": {"name": "table"}, "0": {"name": "cup"}}', "a JSON map", ["cup", "table"]
    ),
    "Mapillary's config": Case(
        '{"labels": [{"name": "object--cup", "readable": "Cup", "color": [1, 2, 3]}]}',
        "the list 'labels'",
        ["Cup"],
        ("colours", "'name'"),
    ),
    "a key that ends in names": Case(
        "cls_names:\n  - cup\n  - table\n", "the list 'cls_names'", ["cup", "table"]
    ),
    "one name a line": Case(
        "cup\ncar=car|truck\nSt. Bernard\n", "one name a line", ["cup", "car", "St. Bernard"]
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("suffix", [".txt", ".json"])
def test_a_list_is_read_by_its_content_whatever_its_suffix(
    case: Case, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"list{suffix}"
    path.write_text(case.text, encoding="utf-8")
    found = read_class_list(path)
    assert case.kind in found.kind
    assert list(Vocabulary.of(found).labels) == case.names
    assert list(Vocabulary.read(path).labels) == case.names
    assert found.left_out == case.left_out
    assert tuple(row.label for row in found.rest) == case.rest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cup\ncat, dog, table\n", "line 2 of f, 'cat, dog, table', could be 3 names or one name"),
        ("cup\ncat; dog\n", "could be 2 names or one name with semicolons"),
        ("cup\ncat . dog .\n", "could be 2 names or one name with full stops"),
        (
            "cup; table, wooden; spoon",
            "could be 2 names between commas or 3 names between semicolons",
        ),
        ("0, cup", "could be 2 names between commas or one name with a number"),
        ("2 seater sofa\n3 seater sofa\n", "could be a number and its name or a name that begins"),
        (
            "1: cup\ntable\n",
            "line 1 of f, '1: cup', could be a name with something beside it or one",
        ),
        ("cup: mug\ntable: desk\n", "could be a name with something beside it or one name"),
        ("label\ncup\n", "line 1 of f, 'label', could be a heading or a name: delete"),
        ("1\n2\n3\n", "could be a number without its name or a name that is a number"),
        (
            "0=zero\n1=one\n",
            "could be a number and its name or a label that is a number and its query",
        ),
        ("0,cup,kitchen\n1,table,dining\n", "could be the column of 'cup' or that of 'kitchen'"),
        ("0: cup\n0: table\n", "gives 'cup' and 'table' the number 0: number them apart"),
        ('["cup, table, spoon"]', "one name 'cup, table, spoon', which could be several"),
        ('{"names": "cup, table"}', "one string under 'names', 'cup, table', which could be one"),
        ("names:\ncup\ntable\n", "looks like YAML and is not"),
        (
            "nc: 1\nclasses:\n  cup\n",
            "one string under 'classes', 'cup', which could be",
        ),
        ('{"names": ["a"], "classes": ["b"]}', "a list under 'names' and one under 'classes'"),
        (
            '{"id2label": {"0": "a"}, "label2id": {"b": 0}}',
            "under 'id2label' and one under 'label2id'",
        ),
        ('{"mask_targets": {"x": {"1": "a"}, "y": {"1": "b"}}}', "under 'x' and one under 'y'"),
        (
            '{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}',
            "the placeholder 'LABEL_0' for each name",
        ),
        ("nc: 3\nnames: [cup, table]\n", "says nc: 3, but has 2 names: correct one"),
        ("0: background\n", "holds no class names besides the rest class"),
        ("_background_\n__ignore__\n", "holds no class names besides the rest class"),
        (
            '<View><BrushLabels name="a"><Label value="cup"/></BrushLabels>'
            '<PolygonLabels name="b"><Label value="lid"/></PolygonLabels></View>',
            "1 label in BrushLabels 'a' and others in PolygonLabels 'b'",
        ),
        ('<View><Labels name="a"><Label value="$cup"/></Labels></View>', "from the task's data"),
        ("METAINFO = dict(classes=load())", "looks like Python and its class names cannot be read"),
        ("CLASSES = ('a',)\nclasses = ('b',)", "different things to 'CLASSES' and 'classes'"),
        ("A = ['cup']\nCLASSES = A + ['table']\n", "could be a piece of a program's list or one"),
        ("classes = 'cup table'.split()", "could be a piece of a program's list or one name"),
        ("cup 255 0 0\ntable\n", "could be a name with something beside it or one name"),
        ("classes = 2\nnames = data/coco.names\n", "is the name of a file, not of a class"),
        ("a.jpg 0\nb.jpg 1\n", "line 1 of f, 'a.jpg', is the name of a file, not of a class"),
        ("id,name\n", "f holds only the heading 'id,name': add rows"),
        ("kitchen\n  cup\n", "line 2 of f, 'cup', could be a part of 'kitchen' above or a name"),
        ("   id   name\n0   0    cup\n1   1  table\n", "could be a row of columns or one name"),
        ('{"objects": ["cup", "table"]}', "could be the class names or the queries of this label"),
        ('{"0": ["n01", "tench"], "1": ["n02", "b"]}', "could be the numbers or the first of each"),
        ("classes = {'a', 'b'}", "a set has no order"),
        ("names = [\ncup,\n", "cannot be read ('[' was never closed (line 1)): write them"),
        ("classes = ['a' 'b', 'c']", "no comma between two strings, line 1"),
        ("item {\n id: 1\n}\n", "item 1 of f, TensorFlow's label map, has no name"),
        ("item {\n id: 1\n name: 'a'\n", "item 1 of f, TensorFlow's label map, has no name"),
        ("cup # the first\ntable\n", "could be a comment or a name with one or one name"),
        ("cup -> mug\ntable\n", "could be a name with something beside it or one name"),
        ("cup\ndict(a=\n", "could be a piece of a program's list or one name"),
        ('"cup,\ntable\n', "could be a piece of a program's list or one name"),
        ("classes=cup, table", "could be a heading and names or the label 'classes' and others"),
        ('{"a": {"names": ["x"]}, "b": {"names": ["y"]}}', "a list under 'a' and one under 'b'"),
        ('{"kitchen": {"cup": 0}}', "no list of class names under a key that is known here"),
    ],
)
def test_a_list_with_two_readings_or_none_is_refused_naming_them(text: str, message: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        recognise(text, "f")
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '<!DOCTYPE v [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><View>&b;</View>',
            "declares a document type",
        ),
        ('<!DOCTYPE v SYSTEM "file:///etc/passwd"><View/>', "declares a document type"),
        ("<a>" * 100_000, "nested too deeply"),
        ("<View>", "is not XML (no element found at line 1)"),
        ("names: &a [x, y]\nclasses: *a\n", "references (* and &) are not read"),
        ("names: " + "[" * 10_000, "nested too deeply"),
        ("names: [a\n", "looks like YAML and is not"),
        ("names:\n  0: a\n  0: b\n", "key '0' stands twice"),
        ("names:\n" + "- a\n" * 300_000, "characters of YAML, but 1,048,576 are read"),
        ("CLASSES = [" + "(" * 10_000, "looks like Python"),
        ("CLASSES = [" + "-" * 300_000 + "1]", "looks like Python"),
        ("CLASSES = [__import__('os')]", "looks like Python"),
    ],
)
def test_hostile_lists_end_in_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        Vocabulary.of(recognise(text, "f"))
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "a" + " " * 2**20 + "b:\nc",
        "a:" * 2**19,
        ("1 " * 9 + "\n") * 2**16,
        "a\n" * 2**14,
        "," * 2**14,
    ],
)
def test_long_texts_are_refused_or_read_soon(text: str) -> None:
    with pytest.raises(VocabularyError):
        Vocabulary.of(recognise(text, "f"))


def test_of_a_large_coco_file_only_the_categories_are_read(tmp_path: Path) -> None:
    path = tmp_path / "instances_train2017.json"
    boxes = "[1,2]," * (MAX_FILE_BYTES // 6)
    categories = '"categories": [{"id": 1, "name": "a ] \\" cup"}, {"id": 2, "name": "table"}]'
    path.write_text(f'{{"annotations": [{boxes}[3,4]], {categories}, "info": {{}}}}')
    assert path.stat().st_size > MAX_FILE_BYTES
    assert Vocabulary.read(path).labels == ('a ] " cup', "table")


def test_the_summary_is_one_line_with_kind_names_and_what_was_left_out() -> None:
    assert recognise(
        "0: unlabeled\n1: person\n2: bicycle\n3: car\n4: bus\n", "labels.txt"
    ).summary() == (
        "labels.txt is read as a list of NUMBER: NAME: 5 names, 'unlabeled', 'person', 'bicycle', "
        "...; 'unlabeled' is asked like any name (--background asks for the rest instead)"
    )


def test_a_rest_class_takes_the_place_of_the_rows_for_it() -> None:
    found = recognise("background:0,0,0::\ncat:48,112,32::\nwall:1,2,3::\n", "labelmap.txt")
    assert Vocabulary.of(found).labels == ("background", "cat", "wall")
    asked = Vocabulary.of(found, has_background=True)
    assert asked.result_names == ("cat", "wall", "background")
    assert found.summary(has_background=True) == (
        "labelmap.txt is read as CVAT's labelmap.txt: 2 names, 'cat', 'wall'; left out: colours, "
        "'background'"
    )


@pytest.mark.parametrize(
    "start", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n", b"II*\0", b"RIFF\1\2\3\4WEBP"]
)
def test_a_picture_is_told_to_be_one(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "photo.txt").write_bytes(start + bytes(100))
    with pytest.raises(VocabularyError, match="is a picture, not a list of class names"):
        read_class_list(tmp_path / "photo.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_how_text_is_encoded(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "names.txt").write_text("Tür\nBär\n", encoding=encoding)
    assert Vocabulary.read(tmp_path / "names.txt").labels == ("Tür", "Bär")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\3\4" + bytes(99), "is an archive or a spreadsheet: unpack it, or save the table"),
        (b"\x1f\x8b" + bytes(99), "is an archive"),
        (b"%PDF-1.7\n", "is a document: save its names as plain text"),
        (b"<!DOCTYPE html><html></html>", "is a web page: download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS, not the file"),
        (b"404: Not Found", "is what a server answers for a missing file"),
        ("cup\n".encode("utf-16-le"), "is no UTF-8 text .it begins with null bytes."),
        (b"\xff\xfec\0u", "is no utf-16 text: save it as UTF-8"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(VocabularyError, match=message):
        read_class_list(tmp_path / "names.txt")


@pytest.mark.parametrize(
    "text",
    [
        "METAINFO = dict(classes=('cup', 'table'), palette=[[255, 0, 0], [0, 255, 0]])",
        "CLASSES = ('cup', 'table')\nPALETTE = [[255, 0, 0], [0, 255, 0]]\n",
        '{"classes": ["cup", "table"], "palette": [[255, 0, 0], [0, 255, 0]]}',
    ],
)
def test_a_palette_beside_the_names_gives_their_colours(text: str) -> None:
    found = recognise(text, "kitchen.py")
    assert [row.color for row in found.names] == [(255, 0, 0), (0, 255, 0)]
    assert Vocabulary.of(found).labels == ("cup", "table")


def test_a_palette_of_another_length_is_one_error() -> None:
    with pytest.raises(VocabularyError, match="a palette of 1 colours for 2 names"):
        recognise('{"classes": ["cup", "table"], "palette": [[255, 0, 0]]}', "f")


def test_rows_keep_their_numbers_and_colours() -> None:
    found = recognise("0 255 0 0 255 cup\n4 0 255 0 255 table\n", "a.clr")
    assert [(row.number, row.color) for row in found.names] == [(0, (255, 0, 0)), (4, (0, 255, 0))]


def test_a_backslash_makes_what_belongs_to_a_name_ordinary() -> None:
    text = "ratio 16\\:9\nrock\\, paper\nMr\\. Bean \\.\n\\'a\\'\n"
    assert Vocabulary.of(recognise(text, "f")).labels == (
        "ratio 16:9",
        "rock, paper",
        "Mr. Bean .",
        "'a'",
    )
