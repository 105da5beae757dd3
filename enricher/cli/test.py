"""``enricher test``: does a configuration make of events what it should? No broker is needed, and no service."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enricher.cli.options import FAILED, MISUSED, Json, tell_problems

if TYPE_CHECKING:
    from enricher.cli.case_runs import Result
    from enricher.config import Problem
    from enricher.testing.cases.loading import Suite

Results = list[tuple[str, list["Result"]]]
"""By file, in the order given."""


def run_tests(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML files of tests.", show_default=False)],
    *,
    only: Annotated[
        str | None, typer.Option("-k", "--only", metavar="TEXT", help="Only tests with this in their name.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write results as JUnit XML, too.")] = None,
    as_json: Json = False,
) -> None:
    """Test a configuration: given these events and these answers of the service, what comes out?

    Runs the worker itself, with Kafka and the service in memory and time virtual: retries and time-outs take no time.
    docs/testing.md tells what a file holds. Exit codes: 0 all pass; 1 some fail; 2 a file is wrong.

    Example: enricher test docs/examples/*.yaml
    """
    from enricher.cli.case_runs import run_case  # noqa: PLC0415  half a second that `--help` does without
    from enricher.config import ConfigError  # noqa: PLC0415
    from enricher.testing.cases.loading import load_suite  # noqa: PLC0415

    suites: list[Suite] = []
    problems: list[Problem] = []
    for file in files:
        try:
            suites.append(load_suite(file))
        except ConfigError as error:
            problems += error.problems
    if problems:
        tell_problems(ConfigError(problems), as_json=as_json, what="the tests are refused")
        raise typer.Exit(MISUSED)
    results: Results = []
    for suite in suites:
        chosen = [test for test in suite.tests if only is None or only in test.case.name]
        results.append((suite.file, []))
        for prepared in chosen:
            result = run_case(prepared)
            results[-1][1].append(result)
            if not as_json:
                _print(suite.file, result)
    if only is not None and not any(of for _, of in results):
        typer.echo(f"enricher test: no test has {only!r} in its name", err=True)
        raise typer.Exit(MISUSED)
    if junit is not None:
        _write_junit(junit, results)
    _conclude(results, as_json=as_json)


def _conclude(results: Results, *, as_json: bool) -> None:
    """Tell the sums; ends with 1 if a test failed."""
    every = [result for _, of in results for result in of]
    failed = sum(not result.passed for result in every)
    if as_json:
        told = [
            {"file": file, "tests": [{**result._asdict(), "passed": result.passed, "differences": [
                {"event": number, **difference._asdict()} for number, difference in result.differences
            ]} for result in of]}
            for file, of in results
        ]  # fmt: skip
        typer.echo(json.dumps({"passed": len(every) - failed, "failed": failed, "files": told}, indent=2))
    else:
        sums = f"{len(every) - failed} passed" + (f", {failed} failed" if failed else "")
        typer.secho(sums, fg="red" if failed else "green", bold=True)
    if failed:
        raise typer.Exit(FAILED)


def _print(file: str, result: "Result") -> None:
    """A line for a test that passes; for another one, all that differs."""
    mark = typer.style("pass", fg="green") if result.passed else typer.style("FAIL", fg="red", bold=True)
    typer.echo(f"{mark}  {file}:{result.line}  {result.name}")
    for line, colour in _lines(result):
        typer.secho(line, fg=colour)


def _lines(result: "Result") -> list[tuple[str, str | None]]:
    """What differs, with the colour of each line."""
    lines: list[tuple[str, str | None]] = []
    if result.failure is not None:
        lines.append((f"      {result.failure}", None))
    for number, difference in result.differences:
        where = f"event {number}" + (f", {difference.path}" if difference.path else "")
        lines += [
            (f"      {where}", None),
            (f"        expected  {difference.expected}", "green"),
            (f"        came      {difference.actual}", "red"),
        ]
    return lines


def _write_junit(path: Path, results: Results) -> None:
    """Results as CI servers read them."""
    from xml.etree import ElementTree as ET  # noqa: PLC0415  few need it

    root = ET.Element("testsuites")
    for file, of in results:
        failed = sum(not result.passed for result in of)
        suite = ET.SubElement(root, "testsuite", name=file, tests=str(len(of)), failures=str(failed))
        for result in of:
            case = ET.SubElement(suite, "testcase", name=result.name, classname=file, file=file, line=str(result.line))
            if not result.passed:
                text = "\n".join(line.strip() for line, _ in _lines(result))
                ET.SubElement(case, "failure", message="not as expected").text = _printable(text)
    try:
        ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        typer.echo(f"enricher test: {path}: {(error.strerror or type(error).__name__).lower()}", err=True)
        raise typer.Exit(FAILED) from None


def _printable(text: str) -> str:
    """Text without what XML cannot hold."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
