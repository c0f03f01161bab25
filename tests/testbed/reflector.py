"""A collection of the API server as it is now: listed once, then watched, as every controller does it."""

import http.client
import threading
from collections.abc import Callable

from tests.testbed.kubeapi import ApiError, KubeApi, Object, Watched


class Reflector:
    """From `start` to `stop`. `changed` is called, in a thread of this, after each change."""

    def __init__(self, api: KubeApi, path: str, changed: Callable[[], object]) -> None:
        self._api = api
        self._path = path
        self._changed = changed
        self._lock = threading.Lock()
        self._objects: dict[str, Object] = {}
        self._watch: Watched | None = None
        self._over = False
        self._thread = threading.Thread(target=self._follow, name=f"watch {path}", daemon=True)

    def objects(self) -> list[Object]:
        with self._lock:
            return list(self._objects.values())

    def start(self) -> None:
        """What is there by now is known when this returns."""
        self._list()
        self._thread.start()

    def stop(self) -> None:
        self._over = True
        if self._watch is not None:
            self._watch.stop()
        if self._thread.is_alive():
            self._thread.join()

    def _list(self) -> None:
        found = self._api.get(self._path)
        with self._lock:
            self._objects = {item["metadata"]["uid"]: item for item in found["items"]}
            # Watching from here on; what happens before the watch is open comes with it.
            self._watch = self._api.watch(self._path, found["metadata"]["resourceVersion"])

    def _follow(self) -> None:
        while not self._over:
            assert self._watch is not None
            try:
                for kind, thing in self._watch:
                    self._note(kind, thing)
            except (OSError, http.client.HTTPException, ApiError):
                if self._over:  # the API server may be gone by then
                    return
            if not self._over:  # it ended by itself: the server's time limit, or a version that is too old
                self._list()
                self._changed()

    def _note(self, kind: str, thing: Object) -> None:
        if kind == "BOOKMARK":
            return
        with self._lock:
            if kind == "DELETED":
                self._objects.pop(thing["metadata"]["uid"], None)
            else:
                self._objects[thing["metadata"]["uid"]] = thing
        self._changed()
