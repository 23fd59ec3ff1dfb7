# SPDX-License-Identifier: Apache-2.0
import pytest

import client
import harness


# Tests that wait long for something, such as the next beacon of a router.
LONG = ("test_flow", "test_collector", "test_tcp_programs", "test_tcp_many", "test_hosts",
        "test_sites", "test_doctor", "test_bundle", "test_streams")


def pytest_collection_modifyitems(items):
    """Those that would be skipped last, and the long ones spread over the beginning: several tests
    run at a time, and none is left that all others have to wait for."""
    long = [i for i in items if i.module.__name__.startswith(LONG)]
    interop = [i for i in items if "interop" in i.module.__name__]
    apart = set(long) | set(interop)
    others = [i for i in items if i not in apart]
    step = max(1, len(others) // (len(long) + 1) * 3 // 5)
    mixed = []
    for at, item in enumerate(others):
        if at % step == 0 and long:
            mixed.append(long.pop(0))
        mixed.append(item)
    items[:] = mixed + long + interop


@pytest.fixture(autouse=True)
def connections_end():
    """What a test left open is dropped when its routers have ended."""
    yield
    client.loop().drop_all()


RUNNING = []  # routers, of a test and of its module


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """A failure shows what the routers had to say last."""
    report = (yield).get_result()
    if report.failed:
        report.sections += [("log of router " + r.name, "\n".join(r.log.lines[-40:]))
                            for r in RUNNING]


def makes_routers(directory):
    """Makes routers; ends them when the test is over and checks how they ended."""
    made = []

    def make(name, *args, **kwargs):
        made.append(harness.Router(directory, name, *args, **kwargs))
        RUNNING.append(made[-1])
        return made[-1]

    yield make
    for router in made:
        RUNNING.remove(router)
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
