"""FiftyOne: an operator that segments the samples of a view by names (look-in-fiftyone.md)."""

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from escnet import Segmenter
from escnet.bridges.fiftyone import Model


class SegmentByNames(foo.Operator):
    """A form for names, and a field of masks."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(
            name="segment_by_names",
            label="Segment by names",
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: Any) -> Any:
        form = types.Object()
        form.view_target(ctx)
        form.str("names", required=True, label="Class names, such as road, vehicle=car|truck")
        form.str("field", default="escnet", required=True, label="Field for the masks")
        form.str("model", default="mini", required=True, label="Model")
        return types.Property(form, view=types.View(label="Segment by names"))

    def execute(self, ctx: Any) -> None:
        field = ctx.params["field"]
        model = Model(ctx.params["names"], segmenter=Segmenter.load(ctx.params["model"]))
        ctx.target_view().apply_model(model, label_field=field)
        ctx.dataset.mask_targets = {**ctx.dataset.mask_targets, field: model.mask_targets}
        ctx.dataset.save()
        ctx.ops.reload_dataset()


def register(plugin: Any) -> None:
    """What FiftyOne calls."""
    plugin.register(SegmentByNames)
