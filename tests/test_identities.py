"""The table of heads: every row is a mix of MakeHuman's targets and plausible colours."""

import dataclasses

import numpy as np
import pytest

from cteg.errors import InputError
from cteg.face.heads import bundled_heads
from training import build_head
from training.head.hair import CUTS
from training.head.identities import DEFAULT, IDENTITIES, STYLE, identity, rgb


def macros(row) -> dict[str, float]:
    return {name: share for name, share in row.targets().items() if name.startswith("macrodetails/")}


@pytest.mark.parametrize("row", IDENTITIES, ids=lambda row: row.name)
def test_a_row_mixes_targets_that_add_up(row):
    universal = {name: share for name, share in macros(row).items() if "universal" in name}
    regions = {name: share for name, share in macros(row).items() if "universal" not in name}
    assert sum(universal.values()) == pytest.approx(1)
    assert sum(regions.values()) == pytest.approx(1)
    assert all(share > 0 for share in macros(row).values())
    assert set(STYLE) <= set(row.targets())
    assert row.cut in CUTS


def test_the_default_is_the_even_mean_of_six_young_adults():
    assert DEFAULT.name == "default"
    assert sorted(macros(DEFAULT).values()) == pytest.approx([1 / 6] * 6 + [1 / 2] * 2)
    assert all("-young" in name for name in macros(DEFAULT))


def test_ages_and_weights_lie_between_their_targets():
    teen = dataclasses.replace(DEFAULT, female=1.0, age=16, ancestry=(0, 1, 0), weight=0.2)
    assert macros(teen) == pytest.approx(
        {
            "macrodetails/asian-female-child": 0.6,
            "macrodetails/asian-female-young": 0.4,
            "macrodetails/universal-female-child-averagemuscle-averageweight": 0.24,
            "macrodetails/universal-female-child-averagemuscle-minweight": 0.36,
            "macrodetails/universal-female-young-averagemuscle-averageweight": 0.16,
            "macrodetails/universal-female-young-averagemuscle-minweight": 0.24,
        }
    )
    for wrong in ({"age": 0}, {"age": 120}, {"weight": 1.1}):
        with pytest.raises(InputError):
            dataclasses.replace(DEFAULT, **wrong).targets()


def test_the_table_spans_ages_sexes_and_ancestries():
    ages = [row.age for row in IDENTITIES]
    assert min(ages) <= 12
    assert max(ages) >= 65
    assert {0, 1} <= {row.female for row in IDENTITIES}
    for region in range(3):
        assert any(row.ancestry[region] == sum(row.ancestry) for row in IDENTITIES)


def test_colours_of_skin_are_those_of_skin():
    for row in IDENTITIES:
        red, green, blue = rgb(row.skin)
        assert 255 >= red > green > blue >= 20
        assert rgb(row.lips)[0] > rgb(row.lips)[1:].max()
        assert np.all(rgb(row.iris) < 200)


def test_every_row_is_built_and_nothing_else_ships():
    shipped = {head.name: head.title for head in bundled_heads()}
    assert shipped == {row.name: row.title for row in IDENTITIES}


def test_unknown_identities_are_named(tmp_path, capsys):
    with pytest.raises(InputError, match=r"'nobody'.*default, amara"):
        identity("nobody")
    assert build_head.main([str(tmp_path / "x.safetensors"), "--identity", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err
