"""Rating faces and choosing the best of them in a real browser: saved, changed, taken back, counted, found again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.pages import Page

pytestmark = pytest.mark.browser


def rated(app: Any, predicate: Callable[[Any], bool]) -> list[Any]:
    return [rating for rating in app.store.ratings() if predicate(rating)]


def test_a_rating_survives_a_reload(visit, app):
    page = visit(reduced_motion="reduce").open().perform("A sentence to rate.")
    rater = page.tab.evaluate("localStorage.getItem('cteg.rater')")
    page.tab.locator(".face").nth(2).get_by_role("radio", name="4").click()
    page.tab.wait_for_selector(".face:nth-of-type(3) .rating[data-state=saved]")
    page.open("ready")
    assert page.tab.locator(".face").nth(2).get_by_role("radio", name="4").get_attribute("aria-checked") == "true"
    (rating,) = rated(app, lambda rating: rating.rater == rater)
    assert (rating.score, rating.position, rating.seed, rating.text) == (4, 2, 9, None)
    assert page.tab.evaluate("localStorage.getItem('cteg.rater')") == rater


def test_a_rating_by_keys_keeps_the_sentence_on_request_and_can_be_undone(visit, app):
    page = visit(reduced_motion="reduce").open().perform("Keep this one.", samples=2)
    rater = page.tab.evaluate("localStorage.getItem('cteg.rater')")
    page.tab.get_by_label("keep my sentence with my ratings").check()
    first = page.tab.locator(".face").nth(0)
    first.get_by_role("radio").nth(0).focus()
    page.tab.keyboard.press("ArrowRight")
    page.tab.keyboard.press("ArrowRight")
    assert not rated(app, lambda rating: rating.rater == rater)  # passing by is not choosing
    page.tab.keyboard.press("Enter")
    first.locator("[data-state=saved]").wait_for()
    (rating,) = rated(app, lambda rating: rating.rater == rater)
    assert (rating.score, rating.text) == (3, "Keep this one.")
    page.tab.keyboard.press("5")
    page.tab.wait_for_function("document.querySelector('.rating').dataset.score === '5'")
    first.get_by_text("Undo").wait_for()
    first.get_by_text("Undo").click()
    first.locator(".rating[data-state=saved][data-score='3']").wait_for()
    assert [rating.score for rating in rated(app, lambda rating: rating.rater == rater)] == [3]


def test_ratings_are_counted_over_all_faces_and_thanked_for(visit):
    page = visit(reduced_motion="reduce").open()
    for total, thanks in ((1, "Thank you: 1 rating"), (2, "Thank you: 2 ratings")):
        page.perform(f"Rated as number {total}.", samples=2)
        page.tab.locator(".sentence", has_text=str(total)).wait_for()
        page.tab.locator(".face").nth(0).get_by_role("radio", name="4").click()
        page.tab.get_by_text(f"{thanks} from you so far.").wait_for()
    page.tab.locator(".face").nth(1).get_by_role("radio", name="2").click()
    page.tab.get_by_text("All rated, thank you: 3 ratings from you so far.").wait_for()
    page.tab.locator(".face").nth(1).get_by_text("Undo").click()
    page.tab.get_by_text("Thank you: 2 ratings from you so far.").wait_for()


def test_a_rating_that_did_not_arrive_is_not_called_saved(visit):
    page = visit(reduced_motion="reduce").open().perform(samples=1)
    page.tab.route("**/cteg-vote/rate", lambda route: route.abort())
    page.tab.locator(".face").get_by_role("radio", name="2").click()
    page.tab.wait_for_selector(".rating[data-state=failed]")
    assert "Not saved" in page.tab.inner_text(".rating")
    assert page.tab.get_attribute(".rating", "data-score") == ""
    page.tab.unroute("**/cteg-vote/rate")
    page.tab.get_by_text("Try again").click()
    page.tab.wait_for_selector(".rating[data-state=saved][data-score='2']")


# -- the best of these -------------------------------------------------------------------------------------------------


def best(page: Page) -> list[int]:
    pressed = [button.get_attribute("aria-pressed") for button in page.tab.locator(".best").all()]
    return [index for index, state in enumerate(pressed) if state == "true"]


def chosen(app: Any, page: Page) -> list[int]:
    rater = page.tab.evaluate("localStorage.getItem('cteg.rater')")
    return [choice.sample for choice in app.store.choices() if choice.rater == rater]


def test_one_face_is_the_best_until_another_is_or_that_is_taken_back(visit, app):
    page = visit(reduced_motion="reduce").open().perform("One of three.", samples=3)
    faces = page.tab.locator(".face")
    faces.nth(0).locator(".best").click()
    page.tab.get_by_text("Thank you: 1 rating from you so far.").wait_for()
    assert (best(page), chosen(app, page)) == ([0], [0])
    faces.nth(2).get_by_role("radio").nth(0).focus()
    with page.tab.expect_response("**/cteg-vote/choose"):
        page.tab.keyboard.press("b")
    page.open("ready")
    assert (best(page), chosen(app, page)) == ([2], [2])
    page.tab.get_by_text("Thank you: 1 rating from you so far.").wait_for()
    with page.tab.expect_response("**/cteg-vote/choose"):
        faces.nth(2).locator(".best").click()
    assert (best(page), chosen(app, page)) == ([], [])
    assert page.complaints == []


def test_a_choice_that_did_not_arrive_is_not_shown_as_made(visit, app):
    page = visit(reduced_motion="reduce").open().perform(samples=2)
    page.tab.route("**/cteg-vote/choose", lambda route: route.abort())
    page.tab.locator(".best").nth(1).click()
    page.tab.get_by_text("Not saved: the server cannot be reached.").wait_for()
    assert best(page) == []
    page.tab.unroute("**/cteg-vote/choose")
    page.tab.locator(".best").nth(1).click()
    page.tab.get_by_text("Thank you: 1 rating from you so far.").wait_for()
    assert (best(page), chosen(app, page)) == ([1], [1])


def test_one_face_alone_cannot_be_the_best(visit):
    page = visit(reduced_motion="reduce").open().perform(samples=1)
    assert page.tab.locator(".best").count() == 0
    assert "best" not in page.tab.inner_text(".question")


# -- whole visits ------------------------------------------------------------------------------------------------------


def test_a_visit_with_the_keyboard_alone(visit, app):
    """Type, generate, watch, step, rate, choose, reload: everything is there again."""
    page = visit().open()
    keys = page.tab.keyboard
    page.tab.wait_for_function("document.activeElement.matches('#cteg-text textarea')")  # the page begins there
    keys.type("By keys alone.")
    keys.press("Enter")
    page.wait("ready")
    page.tab.wait_for_function("document.querySelector('.cteg-player').dataset.frame > 2")
    for _ in range(60):
        keys.press("Tab")
        if page.tab.evaluate("document.activeElement.matches('.faces')"):
            break
    keys.press(" ")
    page.tab.wait_for_selector(".cteg-player[data-playing=false]")
    for _ in range(20):
        keys.press("Tab")
        if page.tab.evaluate("document.activeElement.matches('.face [role=radio]')"):
            break
    keys.press("4")
    page.tab.wait_for_selector(".face:nth-of-type(1) .rating[data-state=saved][data-score='4']")
    keys.press("b")
    page.tab.get_by_text("Thank you: 2 ratings from you so far.").wait_for()
    page.open("ready")
    assert "By keys alone." in page.tab.inner_text(".sentence")
    assert page.tab.locator(".face").nth(0).get_by_role("radio", name="4").get_attribute("aria-checked") == "true"
    assert (best(page), chosen(app, page)) == ([0], [0])


def test_two_tabs_rate_as_one_person_and_keep_to_their_own_faces(visit, app):
    page = visit(reduced_motion="reduce").open().perform("In the first tab.", samples=1)
    other = Page.__new__(Page)
    other.__dict__.update(page.__dict__, tab=page.context.new_page())
    other.open().perform("In the second tab.", samples=1)
    for tab, score in ((page.tab, "2"), (other.tab, "5")):
        tab.locator(".face").get_by_role("radio", name=score).click()
        tab.wait_for_selector(f".rating[data-state=saved][data-score='{score}']")
    page.tab.get_by_text("2 ratings from you so far.").wait_for()  # told by the other tab
    for tab, sentence, score in ((page.tab, "first", "2"), (other.tab, "second", "5")):
        tab.reload()
        tab.wait_for_selector(f".rating[data-score='{score}']")
        assert sentence in tab.inner_text(".sentence")
    rater = page.tab.evaluate("localStorage.getItem('cteg.rater')")
    assert [rating.score for rating in rated(app, lambda rating: rating.rater == rater)] == [2, 5]
