"""One JVM per process, and the simulator's worlds in it: many, each as if it were alone.

The simulator was made for one world at a time. What its worlds share is parted here:

    lock        one around every call: threads inside the simulator corrupt each other
    randomness  each world has its own generator, put in the place of Scala's global one while it is played
    ids         new objects are numbered by a global counter: each world has its own count
    searches    what an expert's search remembers is forgotten before the next one
    hash codes  sets are walked in an order that depends on all that the JVM did before; see `class_file.py`

The first is needed for right answers; the others make the same actions give the same texts on every machine.
"""

import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol
from zipfile import ZipFile

from common.errors import PreflightError
from envhub.envs.sciworld.class_file import with_hash_code

PACKAGE: Final = "scienceworld"
VERSION: Final = "1.2.3"
"""Task numbers, texts and scores are of this version."""
MAX_HEAP: Final = "400m"
"""Of it a world takes about 0.4 MB, and making an expert's path up to 250 MB for a moment."""
_OPTIONS: Final = (
    f"-Xmx{MAX_HEAP}",
    # A world is loaded through ten times the memory that it keeps: most must die young.
    "-Xmn200m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
)
_MENDED: Final = "scienceworld/struct/EnvObject.class"
_SERVER: Final = ("py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0")


class SimulatorError(RuntimeError):
    """The simulator broke or is gone; says nothing about the policy. The next world gets a fresh JVM."""


def jar() -> Path:
    """Where the simulator lies; PreflightError with the command that helps when it or Java is missing."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None or find_spec("py4j") is None:
        raise PreflightError(f"sciworld needs a package: pip install {PACKAGE}=={VERSION}")
    if which("java") is None:
        raise PreflightError("sciworld needs Java: apt-get install default-jre-headless")
    return Path(spec.origin).with_name(f"{PACKAGE}.jar")


class Guest(Protocol):
    """Who plays in a JVM, and what it takes for global."""

    random: Any
    """Its `java.util.Random`."""
    next_id: int
    """The number of its next object; current while another one plays."""


class Jvm:
    """A running JVM. It ends when this process ends, however that happens: its standard input closes."""

    def __init__(self) -> None:
        from py4j.java_gateway import GatewayParameters, JavaGateway, find_jar_path

        # What py4j has to say about a dead JVM is said by the SimulatorError.
        logging.getLogger("py4j").setLevel(logging.CRITICAL)
        # The simulator writes a table of object types wherever it runs.
        self._folder = TemporaryDirectory(prefix="pronghorn-sciworld-", ignore_cleanup_errors=True)
        mended = Path(self._folder.name, _MENDED)
        mended.parent.mkdir(parents=True)
        mended.write_bytes(with_hash_code(ZipFile(jar()).read(_MENDED), "uuid"))
        # The simulator's file has an older gateway too, which lets anybody in.
        classes = os.pathsep.join((self._folder.name, find_jar_path(), str(jar())))
        self.process = subprocess.Popen(
            ["java", *_OPTIONS, "-classpath", classes, *_SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self._playing: Guest | None = None
        port, token = self._line(), self._line()
        parameters = GatewayParameters(port=int(port), auth_token=token, enable_memory_management=False)
        self._gateway = JavaGateway(gateway_parameters=parameters)
        with self.entered():
            self._prepare()

    def _line(self) -> str:
        """The next line of what the JVM says when it is up: its port, and the token that lets us in."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode().strip()
        if not line:
            self.kill()
            raise SimulatorError("the JVM did not start: `java -version` must show version 8 or later")
        return line

    def _prepare(self) -> None:
        """Find what is called often; silence the simulator, which prints all that it does."""
        self._java = java = self._gateway.jvm.java.lang
        java.System.setOut(self._gateway.jvm.java.io.PrintStream("/dev/null"))
        # Our own process may be killed; the last of these is deleted first.
        for part in ("", "scienceworld", "scienceworld/struct", _MENDED, "object_type_ids.tsv"):
            self._gateway.jvm.java.io.File(str(Path(self._folder.name, part))).deleteOnExit()
        self.new_interface = self._gateway.jvm.scienceworld.runtime.pythonapi.PythonInterface
        self.new_random = self._gateway.jvm.java.util.Random
        self._join = java.String.join
        self._random_owner = _singleton(java, "scala.util.Random$")
        self._random_field = java.Class.forName("scala.util.Random").getDeclaredField("self")
        self._random_field.setAccessible(True)
        self._ids = _singleton(java, "util.UniqueIdentifier$")
        self._searched = _singleton(java, "scienceworld.goldagent.PathFinder$").precomputedExhaustivePaths()
        self._set_id = getattr(self._ids, "count_$eq")

    @property
    def is_alive(self) -> bool:
        """Whether worlds can be made in it."""
        return self.process.poll() is None

    @contextmanager
    def entered(self, world: "Guest | None" = None) -> Iterator[None]:
        """The JVM to oneself, with what `world` thinks is global in place; SimulatorError when it breaks."""
        from py4j.protocol import Py4JError, Py4JJavaError

        with self._lock:
            if not self.is_alive:
                raise SimulatorError("the simulator's JVM is gone")
            try:
                if world is not None and world is not self._playing:
                    self._put_in_place(world)
                yield
            except Py4JJavaError as error:
                raise SimulatorError(f"the simulator failed: {str(error)[:300]}") from error
            except (Py4JError, OSError) as error:
                self.kill()
                raise SimulatorError("the simulator's JVM died") from error

    def _put_in_place(self, world: "Guest") -> None:
        if self._playing is not None:
            self._playing.next_id = self._ids.count()
        self._random_field.set(self._random_owner, world.random)
        self._set_id(world.next_id)
        self._playing = world

    def forget_searches(self) -> None:
        """What the search for one expert's path remembers would change the next; call it inside `entered`."""
        self._searched.clear()

    def joined(self, values: Any) -> list[str]:
        """A Java list of strings, in one call and released; call it inside `entered`."""
        text = str(self._join("\n", values))
        self.detach(values)
        return text.split("\n") if text else []

    def numbers(self, values: Any) -> list[int]:
        """A Java list of integers, in one call and released; call it inside `entered`."""
        text = str(values.toString())
        self.detach(values)
        return [int(number) for number in text.strip("[]").split(", ") if number]

    def detach(self, *objects: Any) -> None:
        """Let the JVM's garbage collection have them; call it inside `entered`."""
        for held in objects:
            self._gateway.detach(held)

    def release(self, world: "Guest", *objects: Any) -> None:
        """Let go of all that a world held; nothing is left to do in a JVM that is gone."""
        with suppress(SimulatorError), self.entered():
            if self._playing is world:
                self._playing = None
            self.detach(*objects)

    def heap_mb(self) -> float:
        """Live objects after a collection, in MB."""
        with self.entered():
            self._java.System.gc()
            runtime = self._java.Runtime.getRuntime()
            used = runtime.totalMemory() - runtime.freeMemory()
            self.detach(runtime)
        return float(used) / 1e6

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        self._folder.cleanup()


class _Shared:
    """The JVM of this process, started when first asked for and again after a death."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jvm: Jvm | None = None

    def __call__(self) -> Jvm:
        with self._lock:
            if self._jvm is None or not self._jvm.is_alive:
                self._jvm = Jvm()
            return self._jvm


shared_jvm: Final = _Shared()


def _singleton(java: Any, name: str) -> Any:
    """The one instance of a Scala object."""
    return java.Class.forName(name).getField("MODULE$").get(None)
