from pathlib import Path

import pytest

from escnet.errors import ConfigError
from escnet.training.config import read_recipe

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
[training]
steps = 7
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_what_the_file_leaves_out_has_its_default(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.training.steps == 7
    assert recipe.training.batch_size == 4
    assert recipe.parts.vit == Path("v")
    assert recipe.data.validate_on is None


def test_overrides_are_toml_and_a_bare_word_is_a_string(path: Path) -> None:
    recipe = read_recipe(
        path,
        [
            "training.steps=9",
            "training.dtype=bfloat16",
            "training.learning_rate=1",
            "training.compile=true",
            "data.withheld=['cat', 'dog']",
            "model.settings.num_blocks=3",
            "data.train=some/folder=2",
            "data.source_weights={voc=2}",
        ],
    )
    assert recipe.training.steps == 9
    assert recipe.training.dtype == "bfloat16"
    assert (recipe.training.learning_rate, recipe.training.compile) == (1.0, True)
    assert recipe.data.withheld == ("cat", "dog")
    assert recipe.model.settings == {"num_blocks": 3}
    assert recipe.data.train == Path("some/folder=2")
    assert recipe.data.source_weights == {"voc": 2.0}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.step=1",
            r"no setting training\.step: choose from accumulation, .*steps",
        ),
        (
            "trainin.steps=1",
            r"no setting trainin: choose from data, model, parts, pictures, .*towers",
        ),
        ("training.steps=many", r"training\.steps is 'many': input should be a valid integer"),
        ("training.steps=-1", r"training\.steps is -1: .*greater than or equal to 0"),
        ("training.steps=", r"training\.steps is ''"),
        ("training.steps=true", r"training\.steps is True: input should be a valid integer"),
        ("training.batch_size='4'", r"training\.batch_size is '4': .*valid integer"),
        ("training.learning_rate=true", r"training\.learning_rate is True: .*valid number"),
        ("training.learning_rate='1'", r"training\.learning_rate is '1': .*valid number"),
        ("training.gradient_checkpointing='no'", r"checkpointing is 'no': .*valid boolean"),
        ("training.gradient_checkpointing=1", r"checkpointing is 1: .*valid boolean"),
        ("data.source_weights={voc=true}", r"data\.source_weights\.voc is True: .*valid number"),
        ("training.learning_rate=0", r"training\.learning_rate is 0: .*greater than 0"),
        (
            "training.learning_rate=inf",
            r"training\.learning_rate is 'inf': input should be a valid number",
        ),
        ("training.average=1.0", r"training\.average is 1\.0: .*less than 1"),
        ("training.names_per_picture=1", r"training\.names_per_picture is 1"),
        (
            "training.dtype=float8",
            r"training\.dtype is 'float8': .*'float32', 'bfloat16' or 'float16'",
        ),
        ("records.keep_states=0", r"records\.keep_states is 0: .*greater than or equal to 1"),
        ("data.source_weights={voc=-1}", r"data\.source_weights\.voc is -1"),
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
    ("sections", "message"),
    [
        ("", "the sections are none: give either parts and data, or towers and pictures"),
        ('[data]\ntrain = "d"', "the sections are data: give either parts and data, or"),
        (
            '[parts]\nstart_from = "x"\nstart_with = "everything"\nvit = "v"',
            r"parts\.efficientnet is missing: give all parts, or start_from",
        ),
        ('[parts]\nstart_from = "x"', r"parts\.vit is missing"),
        (
            '[towers]\nclip = ""\n[pictures]\nsources = [{ data = "folder", rot = "x" }]',
            r"no setting pictures\.sources\.0\.rot: choose from data, only, root, weight",
        ),
        (
            '[towers]\nclip = ""\n[pictures]\nsources = [{ data = "folder", root = "x" }]\n'
            "augmentation = { short_side = [3, 2] }",
            r"pictures\.augmentation\.short_side runs from 3 to 2",
        ),
    ],
)
def test_sections_that_do_not_belong_together_are_refused(
    path: Path, sections: str, message: str
) -> None:
    path.write_text(f'[model]\npreset = "tiny"\n{sections}')
    with pytest.raises(ConfigError, match=message) as error:
        read_recipe(path)
    assert "\n" not in str(error.value)


def test_a_whole_checkpoint_needs_no_parts(path: Path) -> None:
    parts = '[parts]\nstart_from = "x"\nstart_with = "everything"\n'
    path.write_text(f'[model]\n{parts}[data]\ntrain = "d"')
    settings = read_recipe(path).parts
    assert settings is not None
    assert settings.is_whole_checkpoint


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
        assert read_recipe(recipe).training.steps > 0


PICTURES = """
[towers]
clip = ""

[pictures]
sources = [{ data = "folder", root = "one" }, { data = "folder", root = "two" }]
"""


def test_one_of_several_sources_is_counted_from_nought(path: Path) -> None:
    path.write_text(PICTURES)
    recipe = read_recipe(
        path, ["pictures.sources.1.root=elsewhere", "pictures.sources.0.weight=2.5"]
    )
    assert recipe.pictures is not None
    assert [source.root for source in recipe.pictures.sources] == [Path("one"), Path("elsewhere")]
    assert [source.weight for source in recipe.pictures.sources] == [2.5, 1.0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pictures.sources.2.root=x", r"no 2 in a list of 2: count from 0"),
        ("pictures.sources.first.root=x", r"no first in a list of 2"),
        ("pictures.sources.2=x", r"no 2 in a list of 2"),
        ("pictures.sources.0.rot=x", r"no setting pictures\.sources\.0\.rot: choose from data, "),
        ("pictures.loss=bc", r"pictures\.loss is 'bc': input should be 'bce' or 'ce'"),
        ("pictures.unlabelled=void", r"pictures\.unlabelled is 'void'"),
        ("towers.trained=['q']", r"towers\.trained\.0 is 'q': input should be 'q_proj'"),
        ("towers.clip_rate=-1", r"towers\.clip_rate is -1"),
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


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.names_per_picture=24",
            r"training\.names_per_picture is 24, but only recipes with parts use it: "
            r"leave it out, or set pictures\.names_per_picture$",
        ),
        ("training.overlap_weight=1", r"training\.overlap_weight is 1\.0, .*: leave it out$"),
        ("training.sam_rate=0.5", r"training\.sam_rate is 0\.5"),
    ],
)
def test_a_setting_that_would_change_nothing_is_refused(
    path: Path, override: str, message: str
) -> None:
    path.write_text(PICTURES)
    with pytest.raises(ConfigError, match=message):
        read_recipe(path, [override])


def test_image_nets_that_run_once_cannot_be_trained(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.tower_rate is 0\.1, but the image nets"):
        read_recipe(path, ["training.tower_rate=0.1"])
    assert read_recipe(path, ["training.tower_rate=0.1", "data.views={}"]).data is not None


def test_sam_embeddings_need_an_alignment(path: Path) -> None:
    with pytest.raises(ConfigError, match="sam_embeddings is given without start_from"):
        read_recipe(path, ["parts.sam_embeddings=f"])


def test_blocks_that_are_computed_twice_are_not_compiled(path: Path) -> None:
    both = ["training.compile=true", "training.gradient_checkpointing=true"]
    for override in both:
        assert read_recipe(path, [override])
    with pytest.raises(
        ConfigError,
        match=r"training\.gradient_checkpointing and training\.compile are both true, .*: leave",
    ):
        read_recipe(path, both)
