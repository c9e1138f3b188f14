"""A node's place among the others, where it is lost at a bad moment."""

from __future__ import annotations

import pytest

from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.state import AwsState
from tests.bridge.backends.aws.conftest import OpenNode


async def test_a_place_that_is_lost_while_joining_is_not_served_from(node: OpenNode) -> None:
    opened = await node()
    assert isinstance(opened.state, AwsState)
    membership = opened.state.membership
    membership.on_lapse = lambda: None
    membership.lapse()
    await membership.join()
    membership.lapse()
    with pytest.raises(AwsError, match="lost its place while it joined"):
        await membership.serve()
    assert not membership.held
    await membership.join()
    await membership.serve()
    assert membership.held
