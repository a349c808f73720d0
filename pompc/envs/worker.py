"""A process that steps some of a vector's environments: `python -m pompc.envs.worker <fd>`.

Every message from the parent has one reply. The first message is task, seeds and registration (of
`gym.hand_over`); each other one is a method of `Vector` and its arguments. An exception is a reply,
and the last one. The end of the pipe ends the process, so that workers never outlive their parent.
"""

import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

from pompc.envs import gym
from pompc.envs.vector import Vector
from pompc.errors import ConfigError


def serve(connection: "Connection[Any, Any]") -> None:
    """Answer messages until the parent closes the pipe, or an environment raises."""
    try:
        task, seeds, registration = connection.recv()
        gym.take_over(task, registration)
        with Vector(task, seeds) as vector:
            connection.send((vector.observation_dim, vector.action_dim))
            while True:
                method, *arguments = connection.recv()
                connection.send(getattr(vector, method)(*arguments))
    except (EOFError, ConnectionError):
        return
    except ConfigError as error:
        connection.send(error)
    except Exception as error:  # noqa: BLE001 - whatever a user's environment raises
        # The exception itself may not be one that the parent can import.
        failure = RuntimeError(f"{type(error).__name__}: {error}")
        failure.add_note(f"In the worker:\n{traceback.format_exc()}")
        connection.send(failure)


if __name__ == "__main__":
    # Ctrl-C and SLURM's signals reach all processes; the parent decides, and closes the pipe.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    serve(Connection(int(sys.argv[1])))
