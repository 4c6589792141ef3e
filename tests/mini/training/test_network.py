"""The stage of the whole network: which names a step has."""

from collections.abc import Callable
from pathlib import Path

from escnet.mini.training.plan import plan_mini
from escnet.training.processes import Share
from escnet.training.recipe import Recipe
from tests.training_data import WHOLE

MakeRecipe = Callable[..., Recipe]


def test_every_name_asked_is_shown_or_another_of_the_source(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    annotated = {"voc": {"sky", "cat", "dog", "diningtable"}, "street": {"sky", "tram"}}
    plan = plan_mini(make_recipe(WHOLE | {"steps": 30, "names_per_picture": 3}), tmp_path)
    (stage,) = plan.stages
    stage.begin()
    for (microbatch,) in stage.batches(0, Share()):
        batch = microbatch.batch
        rows, target = batch.some_names
        names = {plan.names[row] for row in rows}
        every, _ = batch.all_names
        source = "street" if len(every) == 2 else "voc"
        assert {plan.names[row] for row in every} == annotated[source]
        assert names <= annotated[source]
        assert len(names) == len(rows) == min(3, len(every))
        assert target.max() < len(rows)
        assert batch.inputs[0].shape[0] == 1
