"""Fetch GoEmotions and XED from the Hugging Face Hub into the folders that `training.prepare` reads.

Needs a network and the packages `huggingface_hub` and `pyarrow`. Both data sets are read from the Parquet copies that
the Hub keeps of every data set, so no loading script is run.
"""

from __future__ import annotations

from pathlib import Path

from cteg.errors import InputError

GOEMOTIONS = "google-research-datasets/go_emotions"
XED = "Helsinki-NLP/xed_en_fi"
PARQUET_REVISION = "refs/convert/parquet"
FILES = (
    (GOEMOTIONS, "simplified/train", "goemotions/train.tsv"),
    (GOEMOTIONS, "simplified/validation", "goemotions/dev.tsv"),
    (GOEMOTIONS, "simplified/test", "goemotions/test.tsv"),
    (XED, "en_annotated/train", "xed/en-annotated.tsv"),
    (XED, "en_neutral/train", "xed/neu_en.txt"),
)
"""Data set, folder of its Parquet copy, and the file to write, relative to the target folder."""


def fetch(folder: Path) -> tuple[Path, Path]:
    """Download both data sets below `folder` and return their two folders; files that are there are kept.

    Raises:
        InputError: a package is missing or the Hub cannot be reached.
    """
    for dataset, source, target in FILES:
        path = folder / target
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [to_line(row, target) for row in read_rows(dataset, source)]
            part = path.with_suffix(".part")  # a file that is there is kept, so it must be whole
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")
            part.replace(path)
    return folder / "goemotions", folder / "xed"


def to_line(row: dict[str, object], target: str) -> str:
    """Write one row of the Hub as a line of the published file."""
    text = " ".join(str(row.get("text", row.get("sentence"))).split())
    if target.endswith("neu_en.txt"):
        return f"9\t{text}"
    return f"{text}\t{','.join(str(label) for label in row['labels'])}\t"


def read_rows(dataset: str, source: str) -> list[dict[str, object]]:
    """Download the Parquet files of one part of a data set and return their rows."""
    try:
        import pyarrow.parquet
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError as error:
        raise InputError(
            "--hub needs the packages huggingface_hub and pyarrow: pip install huggingface_hub pyarrow."
        ) from error
    where = {"repo_id": dataset, "repo_type": "dataset", "revision": PARQUET_REVISION}
    try:
        files = [name for name in HfApi().list_repo_files(**where) if name.startswith(source + "/")]
        paths = [hf_hub_download(filename=name, **where) for name in sorted(files)]
    except Exception as error:  # the Hub client raises many kinds; each means that there is no data
        raise InputError(f"The Hugging Face Hub did not give {dataset}: {type(error).__name__}.") from error
    if not paths:
        raise InputError(f"The data set {dataset} holds no Parquet file below {source}.")
    return [row for path in paths for row in pyarrow.parquet.read_table(path).to_pylist()]
