from arena.contracts import Spec
from arena.report.sections.methods import method_section
from tests.payoff.matches import match
from tests.report.stories import story


def cards(*results) -> dict[str, list[str]]:
    (exhibit,) = method_section(story(list(results))).exhibits
    return {row[1].text: [cell.text for cell in row] for row in exhibit.sheet.rows}


def test_a_card_has_the_idea_and_the_source_of_a_method():
    _, _, idea, source, _ = cards(match("knockoff"))["knockoff"]
    assert idea
    assert "Orekondy" in source


def test_the_method_inside_a_wrapper_has_a_card_too():
    wrapped = Spec(name="argmax", params=(("base", Spec(name="jbda")),))
    assert {"argmax", "jbda", "none"} <= set(cards(match(wrapped)))


def test_the_code_of_an_entry_is_not_run_for_its_card():
    assert cards(match(Spec(name="/nowhere/agents/mine")))["mine"][2] == "an entry from a folder"


def test_a_method_that_is_not_installed_is_told():
    assert cards(match("no-such-attack"))["no-such-attack"][2] == "not installed here"
