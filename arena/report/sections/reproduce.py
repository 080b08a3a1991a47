"""Section 13: how to reproduce each number, and how to cite it."""

from __future__ import annotations

from arena.report.sections.story import Story
from arena.report.sheets import Exhibit, Section, Sheet, heads, words
from arena.version import __version__

CITATION = (
    "@software{arena, title = {arena: a distributed, game-style evaluation harness for model extraction}, "
    f"version = {{{__version__}}}, license = {{Apache-2.0}}}}"
)


def reproduce_section(story: Story) -> Section:
    """Return the commands that repeat the tournament and its numbers, the versions in use, and the citation."""
    record = story.record
    folder = record.folder.name if record.folder is not None else "DIR"
    commands = (
        ("play the tournament again", f"arena run {folder}/tournament.toml --no-reuse --out again"),
        ("compare the two", f"arena compare {folder} again"),
        ("print the tables", f"arena report {folder}"),
        ("get every match as data", f"arena report {folder} --csv"),
        ("write figures and tables for a paper", f"arena report {folder} --figures figures --latex"),
        ("look at one match and its transcript", f"arena show {folder} MATCH"),
    )
    how = Sheet(
        name="commands",
        title="Commands",
        caption="Run in the folder that contains the run folder.",
        heads=heads("to", "run"),
        rows=tuple((words(what), words(command)) for what, command in commands),
        for_paper=False,
    )
    versions = Sheet(
        name="versions",
        title="Versions and hardware",
        caption="The same versions on the same kind of machine give the same transcripts and clones, bit for bit.",
        heads=heads("what", "version"),
        rows=tuple((words(name), words(version)) for name, version in sorted(record.versions.items())),
        for_paper=False,
    )
    remarks = [f"To cite the software: {CITATION}"]
    if not record.versions:
        remarks.append("The versions that this tournament was played with were not recorded.")
    return Section(
        key="reproduce",
        title="Reproduce and cite",
        decision="How can I check a number, and how do I cite it?",
        remarks=tuple(remarks),
        exhibits=(Exhibit(sheet=how), *((Exhibit(sheet=versions),) if record.versions else ())),
    )


def provenance(story: Story) -> str:
    """Return the seeds, versions and hardware of a tournament in one sentence, for the caption of a table in a paper."""
    record = story.record
    known = ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items()) if name != "machine")
    machine = record.versions.get("machine", "unknown hardware")
    seeds = max((found.seeds for found in story.found), default=0)
    return f"Tournament {record.name}, {seeds} seeds, played on {machine} with {known or 'versions that were not recorded'}."
