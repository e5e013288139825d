#!/usr/bin/python
"""Ansible module: a certificate for a daemon, from an authority that the control machine keeps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: copytool_certificate
short_description: Issue a certificate for the link between copy and intercept
description:
  - Says whether the certificate that a host has will do, and issues another one, with a new private key, if it will
    not. The authority is made when there is none, and replaced before it would end earlier than what it issues.
  - Meant to run on the control machine, with C(delegate_to=localhost), and C(no_log=true) because it returns a private
    key. Needs the Python library cryptography there.
options:
  authority_dir:
    description: Where the authority is, or is to be.
    type: path
    required: true
  current:
    description: The host's certificate as PEM, empty if it has none.
    type: str
    default: ""
  name:
    description: Whom the certificate is made out to (common name).
    type: str
    required: true
  usage:
    description: C(client) for copy and forward, C(server) for intercept, C(both) for a copy that forward connects to.
    type: str
    choices: [client, server, both]
    required: true
  addresses:
    description: IP addresses and names that the host is connected to by.
    type: list
    elements: str
    default: []
  days:
    description: How long it is valid.
    type: int
    default: 397
  renew_days:
    description: With how many days left another one is issued.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Issue intercept's certificate
  copytool_certificate:
    authority_dir: /home/me/copytool/.ca
    name: assistant
    usage: server
    addresses: [192.168.50.102]
  delegate_to: localhost
  no_log: true
  register: issued
"""

RETURN = r"""
reason:
  description: Why another one was issued, empty if none was.
  returned: always
  type: str
authority:
  description: The certificates that hosts are to trust, as PEM; empty in check mode while there is no authority.
  returned: always
  type: str
pem:
  description: The new private key and certificate, as PEM; empty if none was issued, and in check mode.
  returned: always
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible.module_utils.copytool_authority import Authority
except ImportError:
    Authority = None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "authority_dir": {"type": "path", "required": True},
            "current": {"type": "str", "default": ""},
            "name": {"type": "str", "required": True},
            "usage": {"type": "str", "choices": ["client", "server", "both"], "required": True},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "days": {"type": "int", "default": 397},
            "renew_days": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    if Authority is None:
        module.fail_json(msg=missing_required_lib("cryptography"))
    given = module.params
    wanted = (given["name"], given["usage"], given["addresses"])
    try:
        authority = Authority(Path(given["authority_dir"]), given["days"])
        if not authority.lasts() and not module.check_mode:
            authority.renew()
        reason = authority.objection(given["current"], *wanted, given["renew_days"])
        pem = authority.issue(*wanted) if reason and not module.check_mode else ""
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"the certificate authority in {given['authority_dir']}: {error}")
    will_change = bool(reason) or not authority.lasts()  # the latter in check mode only
    module.exit_json(changed=will_change, reason=reason, authority=authority.bundle, pem=pem)


if __name__ == "__main__":
    main()
