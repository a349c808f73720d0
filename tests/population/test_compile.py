"""The thread that compiles a run's programs."""

import threading

from pompc.population.compile import compiler


def test_what_is_not_begun_when_a_run_ends_is_dropped():
    begun, end = threading.Event(), threading.Event()

    def compile_slowly():
        begun.set()
        return end.wait(60)

    with compiler() as pool:
        running, waiting = pool.submit(compile_slowly), pool.submit(print)
        assert begun.wait(60)
    assert waiting.cancelled()
    assert not running.done()  # the run's end did not wait for it
    end.set()
    assert running.result(60)
