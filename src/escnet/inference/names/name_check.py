"""What a model makes of class names: words it does not know, names it cuts or takes for one."""

import re
from collections.abc import Iterator
from pathlib import Path

from escnet.class_lists.class_list import display_text
from escnet.class_lists.findings import Finding
from escnet.errors import VocabularyError
from escnet.inference.methods.tokens import Tokenize
from escnet.inference.names.asked_names import vectors_for
from escnet.inference.names.glued_words import WORDS_FILE, read_words, split_glued
from escnet.inference.names.near_names import near_names, unread_names
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary
from escnet.weights.catalog import require_local

_WORD = re.compile(r"[^\W\d_]{4,}")
_LETTERS_A_PIECE = 2  # a longer mean is a word or known parts of one


def check_with_model(segmenter: Segmenter, vocabulary: Vocabulary) -> list[Finding]:
    """What the model finds in the names; those that it cannot read as a whole are errors."""
    cut = list(_cut_names(segmenter, vocabulary))
    if cut:
        return cut
    unread = unread_names(segmenter.method, vocabulary.queries)
    return [
        *_taught_for_others(segmenter, vocabulary),
        *_near_names(segmenter, vocabulary),
        *(
            _of_query(vocabulary, q, "unread", f"{display_text(q)} {why}")
            for q, why in unread.items()
        ),
        *_glued_and_unknown(segmenter, vocabulary, set(unread)),
    ]


def _of_query(vocabulary: Vocabulary, query: str, kind: str, message: str) -> Finding:
    label = vocabulary.labels[vocabulary.owner[vocabulary.queries.index(query)]]
    return Finding("warning", kind, (label,), message)


def _cut_names(segmenter: Segmenter, vocabulary: Vocabulary) -> Iterator[Finding]:
    texts = vocabulary.templated(segmenter.method.template)
    for text, owner in zip(texts, vocabulary.owner, strict=True):
        if len(text) < 60:  # a token has a letter at least, and every tower reads 64 tokens
            continue
        try:
            segmenter.method.encode_text([text])
        except VocabularyError as error:
            yield Finding("error", "too long", (vocabulary.labels[owner],), str(error))


def _taught_for_others(segmenter: Segmenter, vocabulary: Vocabulary) -> Iterator[Finding]:
    """Labels that this model refuses, as what they were taught is not for it."""
    embedding = segmenter.text_embedding(vocabulary)
    for label, details in enumerate(vocabulary.details):
        try:
            if details.taught:
                vectors_for(
                    vocabulary,
                    label,
                    embedding.shape[1],
                    model=segmenter.model,
                    weights_hash=segmenter.weights_hash,
                )
        except VocabularyError as error:
            yield Finding("error", "taught", (vocabulary.labels[label],), str(error))


def _near_names(segmenter: Segmenter, vocabulary: Vocabulary) -> Iterator[Finding]:
    texts = vocabulary.templated(segmenter.method.template)
    embedding = segmenter.encode_text(texts)
    pairs = near_names(segmenter.method, vocabulary, embedding, segmenter.encode_text)
    for first, second, cosine in pairs:
        yield Finding(
            "warning", "near double", (first, second),
            f"{display_text(first)} and {display_text(second)} are one to {segmenter.model} "
            f"(cosine {cosine:.4f}, nearer than any two names of a benchmark): leave one out, or "
            f"write {first}={first}|{second}",
        )  # fmt: skip


def _glued_and_unknown(
    segmenter: Segmenter, vocabulary: Vocabulary, unread: set[str]
) -> Iterator[Finding]:
    words = read_words(Path(require_local("mini")) / WORDS_FILE) or frozenset()
    tokenize: Tokenize | None = getattr(segmenter.method, "tokenize", None)
    for query in vocabulary.queries:
        if query in unread:
            continue
        apart = split_glued(query, words)
        if apart != query:
            yield _of_query(
                vocabulary, query, "glued",
                f"{display_text(query)} has words glued together: write {apart!r}",
            )  # fmt: skip
        for word in _WORD.findall(apart) if tokenize else ():
            if word.lower() not in words and _is_in_letters(word, tokenize):
                yield _of_query(
                    vocabulary, query, "unknown word",
                    f"{display_text(query)} has the word {word!r}, which {segmenter.model} does "
                    "not know and reads in pieces of a letter or two: take a more usual word, or "
                    f"add one as a query, such as {query}={query}|USUAL WORD",
                )  # fmt: skip


def _is_in_letters(word: str, tokenize: Tokenize | None) -> bool:
    """Whether the tokenizer has only pieces of two or three letters for the word."""
    if tokenize is None:
        return False
    pieces = int(tokenize([word]).is_token.sum()) - int(tokenize(["a"]).is_token.sum()) + 1
    return pieces > 2 and len(word) <= _LETTERS_A_PIECE * pieces
