"""An exported model as a method: its graphs under onnxruntime.

Sizes: N texts, D the width of the joint space.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from escnet.inference.exported.graphs import Graphs, check_onnxruntime
from escnet.inference.exported.manifest import Manifest
from escnet.inference.exported.rejection import left_names, likely_names
from escnet.inference.label_maps.published_resize import View, published_image, square_image
from escnet.inference.label_maps.rest import RestRule
from escnet.inference.machine.threads import usable_threads
from escnet.inference.methods.method import EncodedView, LoadedMethod, ViewLogits
from escnet.inference.methods.tokens import encode_in_parts, load_tokenizer, text_keys
from escnet.inference.names.glued_words import WORDS_FILE, read_words, split_glued
from escnet.towers.text_reading import READINGS, TextReading


class OnnxMethod:
    """An exported model, ready for views.

    Args:
        folder: Of its files.
        manifest: What they are.
        threads: To compute with.
    """

    def __init__(self, folder: Path, manifest: Manifest, threads: int) -> None:
        self._manifest = manifest
        self._graphs = Graphs(folder, manifest, threads)
        self.tokenize = load_tokenizer(folder, manifest.most_tokens, _reading(folder, manifest))
        self.name = manifest.method
        self.template = manifest.template
        self.view_size = manifest.view_size
        self.num_tokens = manifest.num_tokens
        self.rejection = manifest.rejection
        self.settings: Mapping[str, object] = {**manifest.settings, "runtime": "onnxruntime"}

    def encode_text(self, texts: Sequence[str]) -> Float32[np.ndarray, "N D"]:
        """The embeddings of texts that the template has been applied to.

        Raises:
            VocabularyError: If a text has more tokens than the text graph reads.
            WeightsError: If the graph is not the one that the manifest means.
        """

        def encode(some: Sequence[str]) -> Float32[np.ndarray, "n D"]:
            return self._graphs.run("text", self.tokenize(some)._asdict())["text_embedding"]

        try:
            return encode_in_parts(texts, encode)
        finally:
            self._graphs.close("text")  # a third of the memory, and seldom needed again

    def text_keys(self, texts: Sequence[str]) -> list[bytes]:
        """For each text a hash of all that its embedding depends on besides the weights.

        Raises:
            VocabularyError: If a text has more tokens than the text graph reads.
        """
        graph = self._manifest.files["text.onnx"]
        return text_keys(self.tokenize(texts), {"runtime": "onnxruntime", "graph": graph})

    def encode_views(self, views: Sequence[View]) -> list[EncodedView]:
        """What the image graph gives of each view.

        Raises:
            WeightsError: If the graph is not the one that the manifest means.
        """
        return [self._graphs.run("image", {"image": self._image(view)[None]}) for view in views]

    def logits(
        self,
        views: Sequence[EncodedView],
        text_embedding: Float32[np.ndarray, "N D"],
        owner: Sequence[int] | None = None,
    ) -> list[ViewLogits]:
        """Of each view the logits of the texts that were kept, and which these are.

        Args:
            views: As `encode_views` gave them.
            text_embedding: One embedding for each text.
            owner: The label of each text, whose unlikely ones are rejected early; None for exact
                work.

        Raises:
            WeightsError: If a graph is not the one that the manifest means.
        """
        return [self._of_view(view, text_embedding, owner) for view in views]

    def _of_view(
        self,
        patches: Mapping[str, np.ndarray],
        text_embedding: Float32[np.ndarray, "N D"],
        owner: Sequence[int] | None,
    ) -> ViewLogits:
        kept = self._kept(patches, text_embedding, owner)
        text = {"text_embedding": text_embedding, "kept": np.array(kept, np.int64)}
        return ViewLogits(self._graphs.run("head", {**patches, **text})["logits"][0], kept)

    def _kept(
        self,
        patches: Mapping[str, np.ndarray],
        text_embedding: Float32[np.ndarray, "N D"],
        owner: Sequence[int] | None,
    ) -> list[int]:
        """The texts that the head sees."""
        manifest = self._manifest
        rejects = owner is not None and bool(manifest.rejection)
        most = manifest.rejection[0] if rejects else manifest.max_classes
        if most == 0 or len(text_embedding) <= most:
            return list(range(len(text_embedding)))
        maps = self._graphs.run("look", {**patches, "text_embedding": text_embedding})["maps"][0]
        if not rejects or owner is None:
            return likely_names(maps, most)
        left = left_names(maps, owner, most)
        places = likely_names(maps[left], manifest.max_classes)  # of labels with hundreds of names
        return [left[place] for place in places]

    def _image(self, view: View) -> Float32[np.ndarray, "3 side side"]:
        if self._manifest.resize == "published":
            return published_image(view, self.view_size, self._manifest.image_size)
        return square_image(view, self._manifest.image_size)


class OnnxEscMethod(OnnxMethod):
    """An exported ESC-Net, ready for views."""

    def patch_embedding(self, view: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "D h w"]:
        """Where the patches of a view lie in the joint space, as vectors of any length."""
        return view["joint"][0]


def load_exported(folder: Path, *, threads: int | None, is_trusted: bool = False) -> LoadedMethod:
    """The method in an exported folder.

    Args:
        folder: With a manifest.
        threads: To compute with; None for as many as this process may use.
        is_trusted: Whether the files' hashes need no look: those that came with this package.

    Raises:
        WeightsError: If a file is missing, damaged, or another one than the manifest names.
        ConfigError: If onnxruntime is too old.
    """
    check_onnxruntime()
    manifest = Manifest.read(folder)
    if not is_trusted:
        manifest.check_files(folder)
    kind = OnnxEscMethod if manifest.method == "esc-net" else OnnxMethod
    method = kind(folder, manifest, usable_threads(threads))
    rest = None if manifest.rest is None else RestRule.of(manifest.rest)
    return LoadedMethod(method, manifest.weights_hash, manifest.share_prior, rest)


def _reading(folder: Path, manifest: Manifest) -> TextReading:
    """How the tokenizer wants its texts; glued words are split where there is a list of words."""
    words = read_words(folder / WORDS_FILE) if WORDS_FILE in manifest.files else None
    if words is None:
        return READINGS[manifest.reading]
    return TextReading(prepare=partial(split_glued, words=words))
