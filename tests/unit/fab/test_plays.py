"""What is shown of what playbooks print."""

from __future__ import annotations

from fabfile.plays import RECAP, failures_of, summary_of

RECAP_TEXT = """\
PLAY RECAP *********************************************************************
localhost                  : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0
online-1                   : ok=7    changed=0    unreachable=0    failed=0    skipped=6    rescued=0    ignored=0
target.example             : ok=0    changed=0    unreachable=1    failed=0    skipped=0    rescued=0    ignored=0
"""

FAILED = f"""\
PLAY [See] *********************************************************************

TASK [self_check : Do this] ****************************************************
ok: [online-1]

TASK [self_check : Do that] ****************************************************
ok: [online-1]
fatal: [target.example]: UNREACHABLE! => changed=false
  msg: 'Task failed: Failed to connect to the host via ssh'

{RECAP_TEXT}"""


def test_the_recap_tells_which_hosts_failed() -> None:
    assert RECAP.findall(FAILED) == [("localhost", "0", "1"), ("online-1", "0", "0"), ("target.example", "1", "0")]


def test_of_a_playbook_without_a_summary_the_failures_are_shown() -> None:
    shown = failures_of(FAILED)
    assert "UNREACHABLE" in shown and "Do that" in shown and "PLAY RECAP" in shown
    assert "Do this" not in shown
    assert failures_of("ERROR! no such file\n") == "ERROR! no such file"


def test_the_summary_of_a_check_is_the_table_and_what_it_means() -> None:
    assert summary_of("TASK [x]\nok: [y]\n  msg: |-\nIt works.\n\nHop by hop\n  ok  one\n  ok  two\n\nPLAY RECAP") == [
        "It works.",
        "",
        "Hop by hop",
        "  ok  one",
        "  ok  two",
    ]
    assert summary_of(FAILED) == []
