from __future__ import annotations

from pathlib import Path

import pytest

from tracequill.errors import UsageError
from tracequill_phoenix.provision_file import (
    ConfigEntry,
    ProjectEntry,
    parse_provision,
    read_provision,
)

EXAMPLE = Path(__file__).parents[3] / "deploy" / "provision.example.yaml"


def complaint(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_provision(text, "p.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def config(*lines: str) -> str:
    return "\n  ".join(["annotation_configs:", "- name: quality", *(f"  {line}" for line in lines)])


def test_the_example_is_valid() -> None:
    wanted = read_provision(EXAMPLE)

    assert [project.name for project in wanted.projects] == ["support-bot", "search"]
    assert [(c.name, c.type) for c in wanted.annotation_configs] == [
        ("quality", "categorical"),
        ("helpfulness", "continuous"),
        ("remark", "freeform"),
    ]


def test_everything_that_can_be_said() -> None:
    wanted = parse_provision(
        """
projects:
  - {name: bot, description: d}
  - name: other
annotation_configs:
  - name: quality
    type: Categorical
    optimization_direction: MAXIMIZE
    values: [{label: good, score: 1}, {label: "yes"}]
    projects: [bot, other, bot]
  - name: size
    type: continuous
    description: How long?
    lower_bound: 0
    upper_bound: 1.5
  - name: remark
    type: freeform
    threshold: 0.5
""",
        "p.yaml",
    )

    assert wanted.projects == (ProjectEntry("bot", "d", 3), ProjectEntry("other", None, 4))
    assert wanted.annotation_configs == (
        ConfigEntry(
            "quality",
            "categorical",
            None,
            "maximize",
            (("good", 1.0), ("yes", None)),
            None,
            None,
            None,
            ("bot", "other"),
            6,
        ),
        ConfigEntry("size", "continuous", "How long?", "none", (), 0.0, 1.5, None, (), 11),
        ConfigEntry("remark", "freeform", None, "none", (), None, None, 0.5, (), 16),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("projects: [", "p.yaml, line 1: this is not valid YAML: "),
        ("", "p.yaml is empty."),
        ("- a", "p.yaml, line 1: the file must be `key: value` lines with projects"),
        ("project: []", "line 1: unknown key 'project'. Did you mean 'projects'?"),
        ("projects: []\nprojects: []", "line 2: projects stands there twice."),
        ("projects: bot", "line 1: projects must be a list"),
        ("projects: [bot]", "line 1: projects[0] must be `key: value` lines"),
        ("projects:\n- {name: a}\n- {name: a}", "line 3: project 'a' stands there twice, first in"),
        ("projects:\n- descripton: x", "line 2: unknown key 'projects[0].descripton'. Did you"),
        ("projects:\n- {name: }", "line 2: projects[0].name is missing."),
        ("projects:\n- {name: 7}", "name is 7, which YAML does not read as text. Put it in quotes"),
        ("projects:\n- name: [a]", "line 2: projects[0].name must be a text."),
        (config(), "line 2: annotation_configs[0].type is missing. It must be categorical, "),
        (config("type: categoric"), "type is 'categoric'. Did you mean 'categorical'?"),
        (
            config("type: freeform", "optimization_direction: up"),
            "It must be maximize, minimize or",
        ),
        (config("type: categorical"), "values must list at least one label"),
        (config("type: categorical", "values: [{label: a}, {label: a}]"), "the label 'a' twice"),
        (config("type: categorical", "values: [{lable: a}]"), "values[0].lable'. Did you mean 'la"),
        (
            config("type: categorical", "values: [{label: yes}]"),
            "label is yes, which YAML does not",
        ),
        (
            config("type: categorical", "values: [{label: a, score: b}]"),
            "score is 'b'; it must be a",
        ),
        (config("type: categorical", "values: [{label: a, score: .inf}]"), "it must be a number"),
        (
            config("type: categorical", "lower_bound: 1"),
            "lower_bound is only for the type continuous",
        ),
        (
            config("type: continuous", "values: [{label: a}]"),
            "values is only for the type categorical",
        ),
        (
            config("type: continuous", "lower_bound: 2", "upper_bound: 1"),
            "must be above lower_bound",
        ),
        (config("type: continuous", "projects: bot"), "projects must be a list"),
        ("annotation_configs:\n- name: note", "name is 'note', which Phoenix keeps for notes."),
    ],
)
def test_a_mistake_is_one_sentence_with_file_line_and_key(text: str, said: str) -> None:
    assert said in complaint(text)
    assert complaint(text).startswith("p.yaml")


def test_a_missing_file_and_one_that_is_no_text_are_said(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_provision(tmp_path / "missing.yaml")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read_provision(tmp_path / "binary.yaml")
