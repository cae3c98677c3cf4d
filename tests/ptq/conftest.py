"""Every test here predicts by the same costs, whatever ships.

Module by module: a fixture of scope "package" is not undone before the session ends where folders have no __init__.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import costs


@pytest.fixture(scope="module", autouse=True)
def made_up_costs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OAQ_COSTS", str(costs.write(tmp_path_factory.mktemp("costs"))))
        yield
