"""The composition root: from a configuration file to everything that works together."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from pathlib import Path

from quarantine import config, dispatch, playbook, registry
from quarantine.config import Settings
from quarantine.desk import Desk
from quarantine.dispatch import Dispatcher
from quarantine.document import Document
from quarantine.engine import Engine
from quarantine.errors import Misconfigured, Missing
from quarantine.evidence import EvidenceStore, Folder
from quarantine.herald import Herald
from quarantine.intake import Intake
from quarantine.match import Matcher
from quarantine.model import now
from quarantine.note import Key
from quarantine.notify import LogChannel, Notifier, WebhookChannel, subscriptions
from quarantine.owner import new_name
from quarantine.planner import Planner
from quarantine.playbook import Shelf
from quarantine.registry import Registry
from quarantine.sealer import NEXT, Sealer, key_in_use, key_of, make_key
from quarantine.sources import Poller
from quarantine.store.sql import Store
from quarantine.text import closest
from quarantine.worker import Worker

log = logging.getLogger(__name__)


class App:
    """All parts, each made when it is first needed."""

    def __init__(self, settings: Settings, document: Document, clock: Callable[[], datetime] = now) -> None:
        self.settings = settings
        self.clock = clock
        self._document = document

    @cached_property
    def registry(self) -> Registry:
        return registry.load(self.settings.providers, self._document)

    @cached_property
    def shelf(self) -> Shelf:
        return playbook.load_all(self.settings.playbooks, self.registry)

    @cached_property
    def matcher(self) -> Matcher:
        return Matcher(self.shelf.playbooks.values())

    @cached_property
    def store(self) -> Store:
        """Opened and brought up to date."""
        try:
            self.settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Misconfigured(f"data folder {self.settings.data}: {error.strerror}") from error
        url = self.settings.database_url
        hints = dispatch.Hints() if self.settings.distributed else None
        try:
            store = Store(url, hints=hints, channels=subscriptions(self.settings.notify))
        except ModuleNotFoundError as error:
            needs = "pip install 'cloud-quarantine[postgres]'"
            raise Missing(f"database {url.partition(':')[0]} needs: {needs}") from error
        store.migrate()
        if self.settings.distributed:
            dispatch.prepare(store)
        return store

    @property
    def ledger_key(self) -> Path:
        return self.settings.data / self.settings.ledger.key

    @cached_property
    def sealer(self) -> Sealer | None:
        """Seals the record, where its key is. The first process of an installation makes the key."""
        path, found = self.ledger_key, self.store.log_key()
        if found is None and not path.exists():
            key = make_key(path, f"{self.settings.installation}/{self.store.installation()}")
            if self.store.log_key(str(key.verifier)) != str(key.verifier):
                path.unlink()  # another process was faster, on a host that has its key now
                log.info("not_sealing", extra={"why": "the ledger key is on another host"})
                return None
            log.warning("ledger_key_made", extra={"file": str(path), "verifier": str(key.verifier)})
            found = str(key.verifier)
        elif not path.exists() and not path.with_name(path.name + NEXT).exists():
            log.info("not_sealing", extra={"why": f"the ledger key is not here: {path}"})
            return None
        if found is None:
            found = self.store.log_key(str(key_of(path).verifier)) or ""
        return Sealer(self.store, key_in_use(path, found), self.clock, self.settings.ledger, renewed=self._signing_key)

    @cached_property
    def herald(self) -> Herald:
        return Herald(self.store, self.clock, self.settings.ledger)

    def _signing_key(self) -> Key | None:
        """The key that signs the record by now, if it is here."""
        path = self.ledger_key
        return key_in_use(path, self.store.log_key() or "") if path.exists() else None

    @cached_property
    def evidence(self) -> EvidenceStore:
        return EvidenceStore(Folder(self.settings.data / "evidence"), self.settings.evidence)

    @cached_property
    def planner(self) -> Planner:
        return Planner(self.registry, self.shelf, self.settings, self.store)

    @cached_property
    def engine(self) -> Engine:
        return Engine(
            self.store,
            self.registry,
            self.shelf,
            self.planner,
            self.evidence,
            self.settings,
            name=self.name,
            clock=self.clock,
        )

    @cached_property
    def intake(self) -> Intake:
        return Intake(self.store, self.registry, self.matcher, self.settings.sources, self.clock)

    @cached_property
    def desk(self) -> Desk:
        return Desk(self.store, self.settings.approvals, self.clock)

    @cached_property
    def poller(self) -> Poller:
        return Poller(self.store, self.registry, self.shelf, self.intake, self.clock)

    @cached_property
    def worker(self) -> Worker | Dispatcher:
        """Carries cases on: by a claim loop on SQLite, woken by Procrastinate on PostgreSQL."""
        if self.settings.distributed:
            return Dispatcher(self.name, self.store, self.engine, self.intake, self.settings.worker)
        settings = self.settings.worker
        return Worker(
            self.name,
            self.store,
            self.engine,
            self.intake,
            threads=settings.threads,
            lease=settings.lease,
            beat=settings.poll,
        )

    @cached_property
    def webhooks(self) -> tuple[WebhookChannel, ...]:
        return tuple(WebhookChannel(name, webhook, self.clock) for name, webhook in self.settings.notify.items())

    @cached_property
    def notifier(self) -> Notifier:
        return Notifier(self.store, (LogChannel(), *self.webhooks), beat=self.settings.worker.poll)

    @cached_property
    def name(self) -> str:
        """This process, in leases."""
        return new_name()

    def check(self) -> None:
        """Everything that the configuration names exists. Raises Misconfigured with file, line and column."""
        self._check_sources()
        self._check_schedules()
        for part, names in (("guards", self.settings.guards.playbooks), ("watch", self.settings.watch.playbooks)):
            for name in names:
                if name not in self.shelf.playbooks:
                    hint = closest(name, list(self.shelf.playbooks))
                    raise self._document.error((part, "playbooks", name), f"unknown playbook '{name}'.{hint}")

    def _check_sources(self) -> None:
        for name, source in self.settings.sources.items():
            if source.parser not in self.registry.parsers:
                hint = closest(source.parser, list(self.registry.parsers))
                where = ("sources", name, "parser")
                raise self._document.error(where, f"unknown parser '{source.parser}'.{hint}")

    def _check_schedules(self) -> None:
        from quarantine.scheduler import trigger

        for name, schedule in self.settings.schedules.items():
            if schedule.poll not in self.registry.polls:
                hint = closest(schedule.poll, list(self.registry.polls))
                raise self._document.error(("schedules", name, "poll"), f"unknown poll '{schedule.poll}'.{hint}")
            if schedule.playbook is not None and schedule.playbook not in self.shelf.playbooks:
                hint = closest(schedule.playbook, list(self.shelf.playbooks))
                where = ("schedules", name, "playbook")
                raise self._document.error(where, f"unknown playbook '{schedule.playbook}'.{hint}")
            try:
                trigger(schedule)
            except ValueError as error:
                raise self._document.error(("schedules", name, "cron"), f"{error}") from None


def load(path: Path) -> App:
    """The app for a configuration file. Raises Misconfigured."""
    settings, document = config.load(path)
    return App(settings, document)
