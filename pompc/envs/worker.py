"""A process that steps some of a vector's environments: `python -m pompc.envs.worker <fd>`.

Every message from the parent has one reply. The first is a `Start`, then `None` asks for a reset,
an array of actions `[P, A]` for a step, `Save` and `Load` for the environments' states; the end of
the pipe ends the process, so that workers never outlive their parent.
"""

from __future__ import annotations

import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

from pompc.envs import gym
from pompc.envs.vector import LocalVector
from pompc.envs.worker_vector import Failure, Load, Refusal, Save, Start
from pompc.errors import ConfigError


def serve(connection: Connection[Any, Any]) -> None:
    """Answer messages until the parent closes the pipe, or an environment raises.

    An exception's text goes to the parent: as a `Refusal` if it is bad input, else as a `Failure`.
    """
    try:
        _loop(connection)
    except (EOFError, ConnectionError):
        return
    except ConfigError as error:
        connection.send(Refusal(str(error)))
    except Exception as error:  # noqa: BLE001 - whatever a user's environment raises
        connection.send(Failure(f"{type(error).__name__}: {error}", traceback.format_exc()))


def _loop(connection: Connection[Any, Any]) -> None:
    """Make the environments of the first message, then reset or step them on demand."""
    start: Start = connection.recv()
    gym.take_over(start.task, start.registration)
    with LocalVector(start.task, start.seeds) as vector:
        connection.send((vector.observation_dim, vector.action_dim))
        while True:
            connection.send(_answer(vector, connection.recv()))


def _answer(vector: LocalVector, message: Any) -> Any:
    """Do what a message asks for."""
    if message is None:
        return vector.reset()
    if isinstance(message, Save):
        return vector.save()
    if isinstance(message, Load):
        return vector.load(message.states)
    return vector.step(message)


if __name__ == "__main__":
    # Ctrl-C and SLURM's signals reach all processes; the parent decides, and closes the pipe.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    serve(Connection(int(sys.argv[1])))
