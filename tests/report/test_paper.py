"""Figures and tables for a paper."""

import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from arena.report.figures import write_figures
from arena.report.latex import escaped, latex
from arena.report.markdown import escaped as escaped_in_markdown
from arena.report.markdown import markdown
from tests.programs import needs
from tests.report.stories import HOSTILE, hostile_tournament, small_tournament, story, with_curves

VERSIONS = {"arena": "0.1.0", "machine": "Linux x86_64"}


@pytest.fixture(scope="module")
def tables() -> str:
    return latex(story(small_tournament(), versions=VERSIONS))


def test_every_figure_is_an_svg_and_a_pdf(tmp_path: Path):
    names = write_figures(story([*small_tournament(), *with_curves("maze")]), tmp_path / "figures")
    assert {"matrix", "protection-decisions", "protection-scores", "protection-accuracy", "ranks", "queries"} <= set(
        names
    )
    for name in names:
        assert ET.parse(tmp_path / "figures" / f"{name}.svg").getroot().tag.endswith("svg")
        assert (tmp_path / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_the_same_results_give_the_same_files(tmp_path: Path):
    for folder in ("one", "two"):
        write_figures(story(small_tournament()), tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_words_of_players_are_text_in_a_figure(tmp_path: Path):
    names = write_figures(story(hostile_tournament()), tmp_path)
    for name in names:
        tags = {one.tag.rpartition("}")[2] for one in ET.parse(tmp_path / f"{name}.svg").getroot().iter()}
        assert not tags & {"script", "img", "foreignObject"}


def test_a_table_has_rules_of_booktabs_and_a_caption_with_its_terms(tables: str):
    assert all(rule in tables for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    (caption,) = re.findall(r"\\caption\{(Fidelity of the best clone.*)\}", tables)
    assert "5 seeds" in caption
    assert r"Linux x86\_64" in caption
    assert "arena 0.1.0" in caption
    assert "95 \\%" in caption


def test_a_p_value_has_its_effect_size_beside_it(tables: str):
    (head,) = [line for line in tables.splitlines() if line.startswith("attack & defense & difference")]
    assert "p & effect size" in head


def test_every_row_of_a_table_has_as_many_cells_as_its_head(tables: str):
    for columns, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", tables, flags=re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}


@pytest.mark.parametrize("words", HOSTILE)
def test_no_character_of_a_players_words_is_a_command(words: str):
    text = escaped(words)
    assert not re.search(r"(?<!\\)[&%#_](?!\w*\})", text.replace(r"\textbackslash{}", ""))
    assert "\\input" not in text
    assert "\n" not in text


@pytest.mark.parametrize("words", HOSTILE)
def test_words_of_players_are_neither_html_nor_cells_in_markdown(words: str):
    text = escaped_in_markdown(words)
    assert "<" not in text
    assert not re.search(r"(?<!\\)[|`\[]", text)
    assert "\n" not in text


def test_markdown_has_the_sentences_and_the_tables():
    text = markdown(story(small_tournament(), versions=VERSIONS))
    assert text.startswith("# Tournament small\n\n**Complete: 20 of 20 matches have a result.**")
    assert "| knockoff \\* | **" in text or "| knockoff \\* | 82.0 ±2.0" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


@needs("pdflatex", package="texlive-latex-recommended")
def test_latex_accepts_the_tables_of_a_hostile_tournament(tmp_path: Path):
    body = latex(story(hostile_tournament()))
    packages = r"\usepackage{booktabs}\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "tables.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
