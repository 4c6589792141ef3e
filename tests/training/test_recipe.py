from collections.abc import Sequence
from pathlib import Path

import pytest

from escnet.errors import ConfigError
from escnet.mini.training.recipe import DetailSection, MiniRecipe
from escnet.training.pictures_recipe import PicturesRecipe
from escnet.training.recipe import read_recipe

RECIPE = """
[model]
preset = "mini"
[parts]
vit = "v"
efficientnet = "e"
sentence = "s"
sam = "m"
clip_text = "c"
label_names = "t"
[data]
train = "d"
[[stages]]
kind = "network"
steps = 7
[[stages]]
kind = "detail"
"""


def mini_recipe(path: Path, overrides: Sequence[str] = ()) -> MiniRecipe:
    recipe = read_recipe(path, overrides)
    assert isinstance(recipe, MiniRecipe)
    return recipe


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_what_the_file_leaves_out_has_its_default(path: Path) -> None:
    recipe = mini_recipe(path)
    assert recipe.stages[0].steps == 7
    assert recipe.stages[0].batch_size == 4
    assert recipe.parts.vit == Path("v")
    assert recipe.data.validate_on is None


def test_overrides_are_toml_and_a_bare_word_is_a_string(path: Path) -> None:
    recipe = mini_recipe(
        path,
        [
            "stages.0.steps=9",
            "training.dtype=bfloat16",
            "stages.0.learning_rate=1",
            "training.compile=true",
            "data.withheld=['cat', 'dog']",
            "model.settings.num_blocks=3",
            "data.train=some/folder=2",
            "stages.1.source_weights={voc=2}",
        ],
    )
    assert recipe.stages[0].steps == 9
    assert isinstance(recipe.stages[1], DetailSection)
    assert recipe.training.dtype == "bfloat16"
    assert (recipe.stages[0].learning_rate, recipe.training.compile) == (1.0, True)
    assert recipe.data.withheld == ("cat", "dog")
    assert recipe.model.settings == {"num_blocks": 3}
    assert recipe.data.train == (Path("some/folder=2"),)
    assert recipe.stages[1].source_weights == {"voc": 2.0}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.0.step=1", r"no setting stages\.0\.step: choose from average, .*steps"),
        ("training.step=1", r"no setting training\.step: choose from compile, dtype, .*seed"),
        (
            "trainin.steps=1",
            r"no setting trainin: choose from data, model, parts, records, stages, training$",
        ),
        ("stages.0.steps=many", r"stages\.0\.steps is 'many': input should be a valid integer"),
        ("stages.0.steps=-1", r"stages\.0\.steps is -1: .*greater than or equal to 0"),
        ("stages.1.steps=0", r"stages\.1\.steps is 0: .*greater than or equal to 1"),
        ("stages.0.steps=", r"stages\.0\.steps is ''"),
        ("stages.0.steps=true", r"stages\.0\.steps is True: input should be a valid integer"),
        ("stages.0.batch_size='4'", r"stages\.0\.batch_size is '4': .*valid integer"),
        ("stages.0.learning_rate=true", r"stages\.0\.learning_rate is True: .*valid number"),
        ("stages.0.learning_rate='1'", r"stages\.0\.learning_rate is '1': .*valid number"),
        ("stages.0.views={whole=2}", r"stages\.0\.views\.whole is 2: .*less than or equal to 1"),
        ("stages.0.views={hole=2}", r"no setting stages\.0\.views\.hole: choose from .*whole"),
        ("stages.0.kind=networks", r"stages\.0 needs a 'kind': .*'networks'"),
        ("stages=[]", r"stages is \[\]: .*at least 1 item"),
        ("stages=[{steps=1}]", r"stages\.0 needs a 'kind'"),
        ("stages.2.steps=1", r"no 2 in a list of 2: count from 0"),
        ("training.gradient_checkpointing='no'", r"checkpointing is 'no': .*valid boolean"),
        ("training.gradient_checkpointing=1", r"checkpointing is 1: .*valid boolean"),
        (
            "stages.0.source_weights={voc=true}",
            r"stages\.0\.source_weights\.voc is True: .*valid number",
        ),
        ("stages.0.learning_rate=0", r"stages\.0\.learning_rate is 0: .*greater than 0"),
        (
            "stages.0.learning_rate=inf",
            r"stages\.0\.learning_rate is 'inf': input should be a valid number",
        ),
        ("stages.0.average=1.0", r"stages\.0\.average is 1\.0: .*less than 1"),
        ("stages.0.names_per_picture=1", r"stages\.0\.names_per_picture is 1"),
        (
            "training.dtype=float8",
            r"training\.dtype is 'float8': .*'auto', 'float32', 'bfloat16' or 'float16'",
        ),
        ("data.zero_is=nothing", r"data\.zero_is is 'nothing': .*'first', 'unlabelled' or 'backgr"),
        ("data.ignore=[70000]", r"data\.ignore\.0 is 70000: .*less than 65536"),
        ("data={train='d', id_map='m', offset=1}", r"data\.id_map says what every value is"),
        ("records.keep_states=0", r"records\.keep_states is 0: .*greater than or equal to 1"),
        ("stages.0.source_weights={voc=-1}", r"stages\.0\.source_weights\.voc is -1"),
        ("parts.vit=3", r"parts\.vit is 3"),
        ("steps=1", r"override 'steps=1' is not section\.key=value"),
        ("training.steps", r"override 'training\.steps' is not section\.key=value"),
        ("model.preset.x=1", r"override 'model\.preset\.x=1': preset is a value and has no keys"),
        ("model=1", r"override 'model=1' is not"),
    ],
)
def test_an_error_names_the_key(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        read_recipe(path, [override])
    assert "\n" not in str(error.value)


def test_a_missing_key_is_named(path: Path) -> None:
    path.write_text(RECIPE.replace('vit = "v"\n', ""))
    with pytest.raises(
        ConfigError, match=r"recipe\.toml: parts\.vit is missing: give all parts, or"
    ):
        read_recipe(path)


@pytest.mark.parametrize(
    ("preset", "sections", "message"),
    [
        ("mini", "", r"parts is missing: give it"),
        ("tiny", "", r"towers is missing: give it"),
        ("tiny", '[data]\ntrain = "d"', "no setting data: choose from model, pictures, records"),
        (
            "mini",
            '[parts]\nstart_from = "x"\nvit = "v"\n[data]\ntrain = "d"',
            r"parts\.efficientnet is missing: give all parts, or start_from and no part",
        ),
        (
            "tiny",
            '[towers]\nmodel = ""\n[pictures]\nsources = [{ data = "folder", rot = "x" }]',
            r"no setting pictures\.sources\.0\.rot: choose from .*data, .*root",
        ),
        (
            "tiny",
            '[towers]\nmodel = ""\n[pictures]\nsources = [{ data = "folder", root = "x" }]\n'
            "augmentation = { short_side = [3, 2] }",
            r"pictures\.augmentation\.short_side runs from 3 to 2",
        ),
    ],
)
def test_each_structure_has_sections_of_its_own(
    path: Path, preset: str, sections: str, message: str
) -> None:
    path.write_text(f'[model]\npreset = "{preset}"\n{sections}')
    with pytest.raises(ConfigError, match=message) as error:
        read_recipe(path)
    assert "\n" not in str(error.value)


def test_a_whole_checkpoint_needs_no_parts(path: Path) -> None:
    parts = '[parts]\nstart_from = "x"\n'
    path.write_text(f'[model]\n{parts}[data]\ntrain = "d"\n[[stages]]\nkind = "network"')
    assert mini_recipe(path).parts.is_whole_checkpoint


def test_training_takes_one_folder_or_several(path: Path) -> None:
    several = mini_recipe(path, ['data.train=["a", "b"]'])
    assert several.data.train == (Path("a"), Path("b"))
    with pytest.raises(ConfigError, match=r"data\.train"):
        read_recipe(path, ["data.train=[]"])


@pytest.mark.parametrize("content", [b"[model", b"\xff\xfe", b"model = 3", b""])
def test_a_file_that_is_no_recipe_is_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"recipe .*recipe\.toml") as error:
        read_recipe(path)
    assert "\n" not in str(error.value)


def test_a_file_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist: check the path"):
        read_recipe(tmp_path / "none.toml")


def test_the_recipes_of_the_project_are_valid() -> None:
    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
    assert recipes
    for recipe in recipes:
        assert read_recipe(recipe).records.keep_states > 0


PICTURES = """
[model]
preset = "vit-b-16"

[towers]
model = ""

[pictures]
sources = [{ data = "folder", root = "one" }, { data = "folder", root = "two" }]
"""


def test_one_of_several_sources_is_counted_from_nought(path: Path) -> None:
    path.write_text(PICTURES)
    recipe = read_recipe(
        path, ["pictures.sources.1.root=elsewhere", "pictures.sources.0.weight=2.5"]
    )
    assert isinstance(recipe, PicturesRecipe)
    assert [source.root for source in recipe.pictures.sources] == [Path("one"), Path("elsewhere")]
    assert [source.weight for source in recipe.pictures.sources] == [2.5, 1.0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pictures.sources.2.root=x", r"no 2 in a list of 2: count from 0"),
        ("pictures.sources.first.root=x", r"no first in a list of 2"),
        ("pictures.sources.2=x", r"no 2 in a list of 2"),
        ("pictures.sources.0.rot=x", r"no setting pictures\.sources\.0\.rot: choose from .*data, "),
        ("pictures.loss=bc", r"pictures\.loss is 'bc': input should be 'bce' or 'ce'"),
        ("pictures.unlabelled=void", r"pictures\.unlabelled is 'void'"),
        ("towers.trained=['q']", r"towers\.trained\.0 is 'q': input should be 'q_proj'"),
        ("towers.rate=-1", r"towers\.rate is -1"),
        ("pictures.augmentation.crop=0", r"pictures\.augmentation\.crop is 0"),
    ],
)
def test_an_error_in_a_recipe_with_pictures_names_the_key(
    path: Path, override: str, message: str
) -> None:
    path.write_text(PICTURES)
    with pytest.raises(ConfigError, match=message) as error:
        read_recipe(path, [override])
    assert "\n" not in str(error.value)


def test_image_nets_that_run_once_cannot_be_trained(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"stages\.0\.tower_rate is 0\.1, but the image nets"):
        read_recipe(path, ["stages.0.tower_rate=0.1"])
    assert read_recipe(path, ["stages.0.tower_rate=0.1", "stages.0.views={}"])


def test_blocks_that_are_computed_twice_are_not_compiled(path: Path) -> None:
    both = ["training.compile=true", "training.gradient_checkpointing=true"]
    for override in both:
        assert read_recipe(path, [override])
    with pytest.raises(
        ConfigError,
        match=r"training\.gradient_checkpointing and training\.compile are both true, .*: leave",
    ):
        read_recipe(path, both)
