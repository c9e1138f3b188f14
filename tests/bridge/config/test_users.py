"""What the file says of users becomes what they may do, and its mistakes have places."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from bridge.auth import Grants, NamespacePermission, Permissions, SubjectPermission
from bridge.config import ConfigInvalid, Loaded, Sources, load

USERS = """\
users:
  - name: ada
    namespaces: [/, shop]
    tags: [monitoring]
    permissions:
      - {configure: "", write: "^orders-.*$", read: .*}
      - {namespace: shop, read: "^q"}
    topics:
      publish: ["plant/{user}/#"]
      subscribe: ["plant/{client_id}/+"]
    topic_permissions:
      - {write: "^{username}[.]", read: .*}
  - name: bob
"""


def loaded(path: Path, text: str) -> Loaded:
    path.write_text(text)
    environment: Mapping[str, str] = {}
    return load(Sources(path, ("listeners={}",), 0, environment, {}))


def test_options_become_grants(tmp_path: Path) -> None:
    ada, bob = loaded(tmp_path / "f.yaml", USERS).config.users
    assert bob.grants() == Grants()
    assert bob.tags is None
    assert ada.tags == ["monitoring"]
    assert ada.grants() == Grants(
        namespaces=frozenset({"/", "shop"}),
        permissions=(
            NamespacePermission("/", "", "^orders-.*$", ".*"),
            NamespacePermission("shop", "", "", "^q"),
        ),
        subjects=(SubjectPermission("/", "amq.topic", "^{username}[.]", ".*"),),
        publish=("plant/{user}/#",),
        subscribe=("plant/{client_id}/+",),
    )
    permissions = Permissions("ada", ada.grants())
    assert permissions.may_write("/", "orders-x")
    assert permissions.may_publish_topic("plant/ada/x", None)
    assert not permissions.may_open("other")


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("permissions: [{read: '('}]", "users[0].permissions[0].read: is no regular expression"),
        ("permissions: [{write: '(a)\\1'}]", "users[0].permissions[0].write: uses what is not"),
        ("topics: {publish: ['a/#/b']}", "users[0].topics.publish[0]: has levels after #"),
        ("topics: {subscribe: ['']}", "users[0].topics.subscribe[0]: is empty"),
        ("topic_permissions: [{write: '['}]", "users[0].topic_permissions[0].write: is no reg"),
        ("namespaces: ['']", "users[0].namespaces[0]: must be 1 to 255 printable characters"),
        ("permission: []", "users[0].permission: is no option; did you mean 'permissions'?"),
    ],
)
def test_mistakes_are_found_at_their_places(tmp_path: Path, line: str, mistake: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        loaded(tmp_path / "f.yaml", f"users:\n  - name: ada\n    {line}\n")
    assert [mistake in str(each) for each in refused.value.mistakes] == [True], [
        str(each) for each in refused.value.mistakes
    ]
