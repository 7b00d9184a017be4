"""The sentences of the corpus: cleaning, splits, labels, errors."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cteg.errors import InputError
from training import prepare
from training.performance import hub
from training.performance.clean import NAMES, clean, normalised, words_of
from training.performance.labels import LABELS, SEVEN, SEVEN_OF

GOEMOTIONS = {
    "train": [
        "I love this so much!\t18\ta1",
        "I love this so much!\t17\ta2",
        "This is fine.\t27\ta3",
        "Thanks for the help, [NAME]!\t15\ta4",
        "Thanks for the help, [NAME]!\t15\ta5",
        "ok\t27\ta6",
    ],
    "dev": ["This is fine.\t4\tb1", "What a mess you made here\t3,10\tb2"],
    "test": ["this is FINE\t27\tc1", "My cat died yesterday\t16,25\tc2"],
}
XED = ["Oh , great , [PERSON] .\t1", "I 'm scared of the dark .\t4, 6", "You [GAY SLUR] fool .\t1", "Swell !\t5"]
NEUTRAL = ["9\tOne moment please.", "9\tThis is fine."]


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    goemotions, xed = tmp_path / "goemotions", tmp_path / "xed"
    goemotions.mkdir()
    xed.mkdir()
    for split, lines in GOEMOTIONS.items():
        (goemotions / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (xed / "en-annotated.tsv").write_text("\r\n".join(XED) + "\r\n", encoding="utf-8")
    (xed / "neu_en.txt").write_text("\n".join(NEUTRAL) + "\n", encoding="utf-8")
    return goemotions, xed


def run(*arguments: object):
    app = prepare.typer.Typer()
    app.command()(prepare.main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def read(folder: Path, split: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Hey , wait ... what ?", "Hey, wait... what?"),
        ("\u201cI don\u2019t know\u201d", "I don't know"),
        ("- Get off ! - Outside , please .", "Get off! Outside, please."),
        ("l will go , l 'm sure .", "I will go, I'm sure."),
        ("Mark : There's a big wind coming !", "There's a big wind coming!"),
        ("my mother - in - law wan na go", "my mother-in-law wanna go"),
        ("> quoted **bold** text /s", "quoted bold text"),
        ('"He said ""no"" to me."', 'He said "no" to me.'),
        ("see [this](https://a.b/c) &amp; that", "see this & that"),
        ("So happy today :)", "So happy today :)"),
        ("Oh my [NAME]! So cute \U0001f602", "Oh my God! So cute"),
        ("I am a [RELIGION] too", "I am a Christian too"),
        ("Wow!", "Wow!"),
        ("[Doorbell rings] Come in , please .", "Come in, please."),
    ],
)
def test_clean_makes_readable_sentences(raw, expected):
    assert clean(raw) == expected


@pytest.mark.parametrize("raw", ["", "ok", "Soothing .", "You [GAY SLUR] fool", "1 2 3 ## %%", "word " * 41])
def test_clean_drops_what_is_no_sentence(raw):
    assert clean(raw) is None


def test_names_replace_masks_the_same_way_on_every_run():
    text = clean("[NAME] told [NAME] the truth")
    first, second = text.split()[0], text.split()[2]
    assert first in NAMES
    assert second in NAMES
    assert first != second
    assert text == clean("[NAME] told [NAME] the truth")


@given(st.text(max_size=80))
def test_clean_takes_any_text(raw):
    text = clean(raw)
    assert text is None or (1 <= len(words_of(text)) <= 40 and "[" not in text and "\t" not in text)


def test_prepare_writes_tidy_splits(sources, tmp_path):
    out = tmp_path / "text"
    result = run("--goemotions", sources[0], "--xed", sources[1], "--out", out)
    assert result.exit_code == 0, result.output
    rows = {split: read(out, split) for split in ("train", "dev", "test")}
    keys = [normalised(row["text"]) for split in rows.values() for row in split]
    assert len(keys) == len(set(keys))
    for row in [row for split in rows.values() for row in split]:
        assert set(row) == {"text", "source", "labels"}
        assert set(row["labels"]) <= set(LABELS)
        assert sum(row["labels"].values()) == pytest.approx(1, abs=1e-3)
    meta = json.loads((out / "meta.json").read_text(encoding="utf-8"))
    assert meta["counts"]["train"]["sentences"] == len(rows["train"])
    assert "Demszky" in meta["sources"]["goemotions"]["citation"]
    assert meta["sources"]["xed"]["licence"] == "CC BY 4.0"
    assert meta["labels"] == list(LABELS)


def test_prepare_keeps_test_before_dev_before_train_and_goemotions_before_xed(sources, tmp_path):
    splits, _ = prepare.build(prepare.read_goemotions(sources[0]), prepare.read_xed(sources[1]), [])
    assert [s.text for s in splits["test"]] == ["this is FINE", "My cat died yesterday"]
    assert all(normalised(s.text) != "this is fine" for split in ("dev", "train") for s in splits[split])


def test_prepare_averages_the_labels_of_repeated_texts(sources):
    splits, _ = prepare.build(prepare.read_goemotions(sources[0]), prepare.read_xed(sources[1]), [])
    labels = {s.text: s.labels for s in splits["train"]}
    assert labels["I love this so much!"] == {"joy": 0.5, "love": 0.5}
    assert sum(text.startswith("Thanks for the help") for text in labels) == 1


def test_xed_labels_are_mapped_by_documented_shares(sources):
    table = prepare.read_xed_table()
    assert sorted(table) == list(range(9))
    for shares in table.values():
        assert set(shares) <= set(LABELS)
        assert sum(shares.values()) == pytest.approx(1)
    rows = dict(prepare.read_xed(sources[1]))
    assert rows["I 'm scared of the dark ."]["fear"] == pytest.approx(table[4]["fear"] / 2)


def test_the_seven_groups_cover_every_label_once():
    assert sorted(label for members in SEVEN.values() for label in members) == sorted(LABELS)
    assert SEVEN_OF["disgust"] == "disgust"


def test_xed_dev_share_is_small_and_fixed():
    chosen = [prepare.split_of(f"sentence number {k}", prepare.XED_DEV_SHARE) == "dev" for k in range(4000)]
    assert sum(chosen) / len(chosen) == pytest.approx(prepare.XED_DEV_SHARE, abs=0.015)


def test_our_own_sentences_are_many_labelled_and_in_every_split(sources):
    own = prepare.read_own()
    leading = Counter(max(labels, key=labels.__getitem__) for _, labels in own)
    assert set(leading) == set(LABELS)
    assert min(leading.values()) >= 40
    splits, meta = prepare.build(prepare.read_goemotions(sources[0]), prepare.read_xed(sources[1]), own)
    assert meta["dropped"].get("own: not a sentence", 0) < 0.02 * len(own)
    held_out = {split: sum(s.source == "own" for s in rows) / len(own) for split, rows in splits.items()}
    assert held_out["test"] == pytest.approx(prepare.OWN_HELD_OUT_SHARE, abs=0.04)
    assert held_out["dev"] == pytest.approx(prepare.OWN_HELD_OUT_SHARE, abs=0.04)


def test_own_labels_weigh_less_by_rank_and_unknown_ones_are_named(tmp_path):
    path = tmp_path / "own.tsv"
    path.write_text("text\tlabels\nOh no, not again\tfear,sadness,annoyance\n", encoding="utf-8")
    (row,) = prepare.read_own(path)
    assert row[1] == pytest.approx({"fear": 3 / 6, "sadness": 2 / 6, "annoyance": 1 / 6})
    path.write_text("text\tlabels\nOh no, not again\tfeer\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"Line 2 of own\.tsv .*'feer'"):
        prepare.read_own(path)


@pytest.mark.parametrize("missing", ["goemotions/dev.tsv", "xed/neu_en.txt"])
def test_missing_file_is_one_sentence_and_exit_2(sources, tmp_path, missing):
    (tmp_path / missing).unlink()
    result = run("--goemotions", sources[0], "--xed", sources[1], "--out", tmp_path / "text")
    assert result.exit_code == 2
    assert Path(missing).name in result.output


@pytest.mark.parametrize("line", ["no tab here", "a text\tx", "a text\t28", "a text\t"])
def test_damaged_line_is_named(sources, line):
    (sources[0] / "train.tsv").write_text(f"Good line here\t1\tid\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"Line 2 of train\.tsv"):
        prepare.read_goemotions(sources[0])


def test_binary_file_is_refused(sources):
    (sources[1] / "en-annotated.tsv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="not readable text"):
        prepare.read_xed(sources[1])


def test_missing_folder_or_option_is_refused(tmp_path):
    with pytest.raises(InputError, match="no GoEmotions folder"):
        prepare.read_goemotions(tmp_path / "none")
    with pytest.raises(InputError, match="no XED folder"):
        prepare.read_xed(tmp_path / "none")
    assert run("--out", tmp_path / "text").exit_code == 2


def test_hub_writes_the_files_that_prepare_reads(monkeypatch, tmp_path):
    rows = {
        hub.GOEMOTIONS: [{"text": "What a\tgreat day", "labels": [0, 17], "id": "x"}],
        hub.XED: [{"sentence": "Get out of here .", "labels": [1, 3]}],
    }
    monkeypatch.setattr(hub, "read_rows", lambda dataset, source: rows[dataset])
    goemotions, xed = hub.fetch(tmp_path)
    assert prepare.read_goemotions(goemotions)["dev"][0][0] == "What a great day"
    assert len(prepare.read_xed(xed)) == 2
