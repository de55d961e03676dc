"""The page of a study: warnings and advice first, everything escaped, nothing loaded, every arm in it and drawn."""

import re
from typing import Any

import pytest

from excite.errors import EnvironmentFault
from excite.report.study_page import ArmTold, StudyData, render, write_study_page


def arm(name: str, value: float, milliseconds: float, **more: Any) -> ArmTold:
    given = {"low": value - 0.02, "high": value + 0.02, "seeds": [value - 0.01, value + 0.01], "difference": None,
             "difference_low": None, "difference_high": None, "shown": False, "best": 0.3, "ranks": "1 to 3",
             "row": [f"{value:.3f}", "0.5"], "link": f"runs/{name}/seed-0/report.html"}
    return ArmTold(name=name, value=value, milliseconds=milliseconds, **given | more)


def data(**more: Any) -> StudyData:
    arms = [arm("none", 0.8, 8.0), arm("se<b>", 0.82, 9.0, difference=2.0, difference_low=0.4, difference_high=3.6,
                                       shown=True, best=0.7), arm("slow", 0.81, 12.0, difference=1.0, best=0.0)]
    given = {"title": "Study of 3 arms on <table>", "created": "2026-01-02T03:04:05+00:00", "lead": "3 arms x 2 seeds",
             "advice": ["se is better.", "Take se."], "cautions": ["Beware & think."], "metric": "balanced accuracy",
             "unit": "points", "better": 1, "heads": ["value", "beside"], "tested": 1, "arms": arms,
             "counted": ["units"], "notes": ["float32"], "facts": {"Times": "a machine"}, "recipe": "seed: 0\n"}
    return StudyData(**given | more)


def test_warnings_and_advice_come_first_and_what_comes_from_outside_is_escaped() -> None:
    page = render(data())
    assert page.index("Beware &amp; think.") < page.index("se is better.") < page.index("<b>Take se.</b>")
    assert page.index("Take se.") < page.index("3 arms x 2 seeds")
    assert "Study of 3 arms on &lt;table&gt;" in page and "se<b>" not in page and "se&lt;b&gt;" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page) and "<script" not in page


def test_the_ranking_is_in_its_order_and_every_arm_is_drawn() -> None:
    page = render(data())
    ranking = page[page.index('id="ranking"'):page.index('id="counted"')]
    places = [ranking.index(name) for name in ("se&lt;b&gt;", ">none<", ">slow<")]
    assert places == sorted(places) and "width:70.0%" in ranking
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 2
    assert all(name in drawings[0] for name in ("none", "slow", "front"))
    assert "on the front: none, se&lt;b&gt;" in page
    assert "Differences from none" in page and "se&lt;b&gt; 2.00; slow 1.00" in page


def test_where_less_is_better_the_front_and_the_words_turn_round() -> None:
    page = render(data(better=-1, unit="mm"))
    assert "(less is better)" in page and "better to the left" in page and "on the front: none" in page
    assert "on the front: none, " not in page


def test_a_page_without_intervals_is_drawn_too() -> None:
    arms = [arm("a", 0.5, 1.0, low=None, high=None, seeds=[0.5]),
            arm("b", 0.6, 9.0, low=None, high=None, seeds=[0.6], difference=10.0)]
    assert "on the front: a, b" in render(data(arms=arms))


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Any) -> None:
    with pytest.raises(EnvironmentFault, match="the report cannot be written"):
        write_study_page(tmp_path / "gone" / "study.html", data())
