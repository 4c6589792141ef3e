"""`escnet cache`: text embeddings that are kept for the next start."""

import sys

from escnet.cli.options import AsJson, verb_group

app = verb_group("Show or clear the text embeddings that are kept for the next start.")


@app.command()
def show(as_json: AsJson = False) -> None:
    """Show where text embeddings are kept, of which models, and how many bytes they take."""
    from escnet.annotations.json_text import to_json
    from escnet.cache_folder import most_text_bytes
    from escnet.files import display_path
    from escnet.inference.names.embedding_cache import EmbeddingCache

    cache, most_bytes = EmbeddingCache.of_user(), most_text_bytes()
    entries = cache.entries()
    num_bytes = sum(entry.num_bytes for entry in entries)
    if as_json:
        document = {
            "folder": str(cache.folder),
            "most_bytes": most_bytes,
            "num_bytes": num_bytes,
            "models": [entry._asdict() for entry in entries],
        }
        sys.stdout.write(to_json(document).decode("utf-8"))
        return
    bound = f"at most {_megabytes(most_bytes)}" if most_bytes else "switched off"
    print(f"{display_path(cache.folder)} ({bound})")
    for entry in entries:
        print(f"  {entry.model or '(no name)'}, weights {entry.weights_hash[:16]}")
        print(f"    {entry.num_texts} texts, {_megabytes(entry.num_bytes)}")
    print(f"{_megabytes(num_bytes)} in all")


@app.command()
def clear() -> None:
    """Delete the text embeddings that are kept, and no file that is not escnet's own."""
    from escnet.files import display_path
    from escnet.inference.names.embedding_cache import EmbeddingCache

    cache = EmbeddingCache.of_user()
    num_files, num_bytes = cache.clear()
    print(f"{num_files} files, {_megabytes(num_bytes)} removed from {display_path(cache.folder)}")


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"
