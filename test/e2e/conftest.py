# SPDX-License-Identifier: Apache-2.0
import pytest

import client
import harness


@pytest.fixture(autouse=True)
def connections_end():
    """What a test left open is dropped when its routers have ended."""
    yield
    client.loop().drop_all()


def makes_routers(directory):
    """Makes routers; ends them when the test is over and checks how they ended."""
    made = []

    def make(name, *args, **kwargs):
        made.append(harness.Router(directory, name, *args, **kwargs))
        return made[-1]

    yield make
    for router in made:
        if router.process is None:
            continue
        was_killed = router.process.poll() == -9
        status = router.stop()
        if router.program == harness.SKROUTERD and not was_killed:
            assert status == 0, "\n".join(router.log.lines[-120:])


@pytest.fixture
def routers(tmp_path):
    yield from makes_routers(tmp_path)


@pytest.fixture(scope="module")
def routers_of_module(tmp_path_factory):
    yield from makes_routers(tmp_path_factory.mktemp("routers"))


@pytest.fixture
def peer_program():
    if not harness.PEER:
        pytest.skip("PEER_SKROUTERD does not name the existing router")
    return harness.PEER


def pytest_terminal_summary(terminalreporter):
    """What tests measured, and did not judge."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", []):
                if getattr(report, "when", "") == "call":
                    terminalreporter.write_line("%s: %s" % (name, value))
