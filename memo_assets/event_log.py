"""Dagster's record of events in SQLite, kept open: dagster.yaml names this class.

What belongs here: how the databases are connected to. Their files, tables and contents are Dagster's own, so a home can go
back to Dagster's class at any time. Dagster makes an engine and a connection for every query; here they stay. Dagster
builds the tables of every run's database by its migrations; here the first is built so, and later ones begin as its copy.

A commit does not wait for the disk. With a write-ahead log a database stays whole whatever happens; a power failure may
take the last events, and then what they told of counts as not made and is made again.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any, cast

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

_MOST_ENGINES = 16  # databases kept open at once: the index, and one a run


class KeptOpenEventLog(SqliteEventLogStorage):
    """The event log of DAGSTER_HOME, where Dagster itself would have it, with one connection a database."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, tuple[Engine, int]] = OrderedDict()  # and the inode of its file
        self._tables: set[str] = set()
        self._empty: bytes | None = None  # a run's database without events
        # Of a batch that is being stored, under the lock: its thread, its transactions, connections by database.
        self._batch: tuple[int, ExitStack, dict[str, Connection]] | None = None
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """None: everything lies in DAGSTER_HOME."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Any,  # noqa: ARG003 - Dagster's name
    ) -> KeptOpenEventLog:
        """As Dagster makes it from dagster.yaml."""
        return cls(str(Path(os.environ["DAGSTER_HOME"]) / "history" / "runs"), inst_data)

    def has_table(self, table_name: str) -> bool:
        """As Dagster's, which asks at every event; tables do not go away."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events in one transaction a database: all of them, or none if one fails."""
        with self._db_lock, ExitStack() as transactions:
            self._batch = get_ident(), transactions, {}
            try:
                super().store_event_batch(events)
            finally:
                self._batch = None

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if self._batch is not None and self._batch[0] == get_ident():
            _, transactions, connections = self._batch
            if shard not in connections:
                connections[shard] = transactions.enter_context(self._engine(shard).connect())
                transactions.enter_context(connections[shard].begin())
            yield connections[shard]
            return
        with self._db_lock, self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def _engine(self, shard: str) -> Engine:
        """The engine of a database, which is made where there is none; one whose file was replaced is made anew."""
        path = Path(self.path_for_shard(shard))
        kept = self._engines.pop(shard, None)
        if kept is not None:
            engine, inode = kept
            if shard in self._initialized_dbs and path.exists() and path.stat().st_ino == inode:
                self._engines[shard] = kept
                return engine
            engine.dispose()
        engine = create_engine(
            create_db_conn_string(self._base_dir, shard),
            poolclass=QueuePool,
            pool_size=1,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
        )
        event.listen(engine, "connect", _do_not_wait_for_the_disk)
        self._make_tables(shard, path, engine)
        self._initialized_dbs.add(shard)
        self._engines[shard] = engine, path.stat().st_ino
        if len(self._engines) > _MOST_ENGINES:
            self._engines.popitem(last=False)[1][0].dispose()
        return engine

    def _make_tables(self, shard: str, path: Path, engine: Engine) -> None:
        """See to it that a database is there and has Dagster's tables."""
        is_new_run = shard != INDEX_SHARD_NAME and not path.exists()
        if is_new_run and self._empty is not None and _placed(path, self._empty):
            return
        self._initdb(engine)
        if is_new_run and self._empty is None:
            with engine.connect() as connection:
                if not connection.exec_driver_sql("SELECT count(*) FROM event_logs").scalar():
                    raw = cast("sqlite3.Connection", connection.connection.driver_connection)
                    self._empty = raw.serialize()

    def dispose(self) -> None:
        """Close all databases."""
        for engine, _ in self._engines.values():
            engine.dispose()
        self._engines.clear()
        super().dispose()


def _placed(path: Path, content: bytes) -> bool:
    """Write a file that is not there yet, whole or not at all; False if another process was faster or links are unknown."""
    copy = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        copy.write_bytes(content)
        path.hardlink_to(copy)
    except OSError:
        return False
    finally:
        copy.unlink(missing_ok=True)
    return True


def _do_not_wait_for_the_disk(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
