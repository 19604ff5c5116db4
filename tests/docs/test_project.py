"""The files for GitHub, PyPI, Docker and a Hugging Face Space name commands, versions and addresses that exist."""

import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from srgan_lightning import __version__
from tests.helpers.documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))


def jobs(path: Path) -> dict[str, dict]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def command_lines() -> list[str]:
    """Return the shell commands of all workflows, with the values of each matrix filled in."""
    lines = []
    for job in (job for path in WORKFLOWS for job in jobs(path).values()):
        matrix = job.get("strategy", {}).get("matrix", {})
        for run in (step["run"] for step in job["steps"] if "run" in step):
            name = re.search(r"\$\{\{ matrix\.(\w+) \}\}", run)
            for value in matrix[name[1]] if name else [""]:
                lines += (run.replace(name[0], value) if name else run).splitlines()
    return lines


MAKE = sorted({line for line in command_lines() if line.startswith("make ")})


def test_workflows_run_make() -> None:
    assert {"make lint", "make test", "make test-min", "make test-newest", "make docs", "make dist"} <= set(MAKE)


@pytest.mark.parametrize("line", MAKE)
def test_targets_of_workflows_exist(line: str) -> None:
    subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_scripts_of_workflows_and_container_exist() -> None:
    text = "\n".join([*command_lines(), (ROOT / "Dockerfile").read_text(encoding="utf-8")])
    named = set(re.findall(r"\bsrgan-(?!lightning)[\w-]+", text))
    assert named
    assert named <= PROJECT["scripts"].keys()


def test_workflows_may_do_no_more_than_they_need() -> None:
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}
        writes = {
            (name, *granted) for name, job in jobs(path).items() if (granted := sorted(job.get("permissions", {})))
        }
        assert writes <= {("publish", "id-token"), ("publish", "id-token", "pages")}


def test_ci_covers_the_versions_that_are_supported() -> None:
    matrix = jobs(ROOT / ".github/workflows/ci.yml")["test"]["strategy"]["matrix"]
    assert matrix == {"os": ["ubuntu-latest", "macos-latest"], "python": ["3.11", "3.12", "3.13"]}
    assert f">={matrix['python'][0]}" == PROJECT["requires-python"]


def test_the_container_serves_the_page_as_an_ordinary_user() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000"]
    assert lines[-1] == 'CMD ["srgan-demo", "--host", "0.0.0.0"]'
    for source in re.findall(r"^COPY (.*) \S+$", "\n".join(lines), flags=re.MULTILINE):
        assert all((ROOT / name).exists() for name in source.split())
        assert all(f"!{name}" in (ROOT / ".dockerignore").read_text().splitlines() for name in source.split())


def test_one_address_and_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["repository-code"]) == (__version__, REPOSITORY)
    assert yaml.load((ROOT / "mkdocs.yml").read_text(), yaml.BaseLoader)["repo_url"] == REPOSITORY
    named = re.findall(r"github/([\w-]+/[\w-]+)/blob/main/(\S+?)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [(f"https://github.com/{name}", path) for name, path in named] == [
        (REPOSITORY, "notebooks/01_quickstart.ipynb")
    ]


def test_the_card_of_the_space_is_valid() -> None:
    card = yaml.safe_load((ROOT / "space/README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert (card["sdk"], card["app_file"], card["license"]) == ("gradio", "app.py", "mit")
    assert f"gradio=={card['sdk_version']}" in (ROOT / "constraints/newest.txt").read_text().splitlines()
    assert len(card["short_description"]) <= 60


@pytest.mark.slow
def test_the_space_answers_to_its_own_name(tmp_path: Path) -> None:
    httpx = pytest.importorskip("httpx", reason="needs the extra demo")
    pytest.importorskip("gradio", reason="needs the extra demo")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "space/app.py"), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "SPACE_HOST": "faces.example.org", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert str(port) in server.stdout.readline()
            answers = {
                name: httpx.get(f"http://127.0.0.1:{port}/", headers={"Host": name}, timeout=60).status_code
                for name in ("faces.example.org", "other.example.org")
            }
        finally:
            server.terminate()
            server.wait(60)
    assert answers == {"faces.example.org": 200, "other.example.org": 400}


@pytest.mark.parametrize(
    ("target", "there", "installs"),
    [
        ("quickstart", [], ["."]),
        ("test", [], [".", "'.[dev]'"]),
        ("test", [".training"], ["'.[dev]'"]),
        ("quickstart", [".training", ".installed"], []),
        ("test", [".training", ".installed"], []),
    ],
)
def test_make_installs_what_a_target_needs(tmp_path: Path, target: str, there: list[str], installs: list[str]) -> None:
    """`make quickstart` installs only the package; the tests install the rest."""
    for name in there:
        (tmp_path / name).touch()
    said = subprocess.run(["make", "-n", target, f"VENV={tmp_path}"], cwd=ROOT, capture_output=True, text=True)
    assert re.findall(r"pip install --quiet --editable ([^; \n]+)", said.stdout) == installs
