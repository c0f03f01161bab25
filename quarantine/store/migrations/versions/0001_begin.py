"""The first tables, and the triggers: what is recorded stays as it is, and waits to be sealed."""

from alembic import op

from quarantine.store.schema import RECORDS, metadata

revision = "0001"
down_revision = None


def _sqlite() -> list[str]:
    return [
        *(
            f"CREATE TRIGGER {table}_stay_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} are never changed or deleted'); END"
            for table in RECORDS
            for verb in ("UPDATE", "DELETE")
        ),
        # INSERT OR REPLACE deletes without firing a trigger on delete, unless recursive_triggers is on.
        """CREATE TRIGGER events_are_new BEFORE INSERT ON events WHEN EXISTS
        (SELECT 1 FROM events WHERE id = NEW.id OR (case_id = NEW.case_id AND seq = NEW.seq))
        BEGIN SELECT RAISE(ABORT, 'events are never replaced'); END""",
        """CREATE TRIGGER disclosures_stay_update BEFORE UPDATE ON disclosures
        BEGIN SELECT RAISE(ABORT, 'disclosures are never changed'); END""",
        """CREATE TRIGGER disclosures_are_new BEFORE INSERT ON disclosures WHEN EXISTS (SELECT 1 FROM disclosures
        WHERE case_id = NEW.case_id AND seq = NEW.seq AND commitment = NEW.commitment)
        BEGIN SELECT RAISE(ABORT, 'disclosures are never replaced'); END""",
        """CREATE TRIGGER leaves_are_new BEFORE INSERT ON leaves WHEN EXISTS
        (SELECT 1 FROM leaves WHERE position = NEW.position OR entry = NEW.entry)
        BEGIN SELECT RAISE(ABORT, 'leaves are never replaced'); END""",
        # Whoever signs the same state a moment later is no error: the first stays.
        """CREATE TRIGGER checkpoints_are_new BEFORE INSERT ON checkpoints WHEN EXISTS
        (SELECT 1 FROM checkpoints WHERE size = NEW.size) BEGIN SELECT RAISE(IGNORE); END""",
        """CREATE TRIGGER cosignatures_are_new BEFORE INSERT ON cosignatures WHEN EXISTS
        (SELECT 1 FROM cosignatures WHERE size = NEW.size AND witness = NEW.witness)
        BEGIN SELECT RAISE(IGNORE); END""",
        "CREATE TRIGGER events_wait AFTER INSERT ON events BEGIN INSERT INTO unsealed (entry) VALUES (NEW.id); END",
    ]


def _postgresql() -> list[str]:
    stays = [
        """CREATE FUNCTION records_stay() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '% are never changed or deleted', TG_TABLE_NAME; END $$""",
    ]
    for table in RECORDS:
        stays += [
            f"""CREATE TRIGGER {table}_stay BEFORE UPDATE OR DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION records_stay()""",
            f"""CREATE TRIGGER {table}_last BEFORE TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION records_stay()""",
        ]
    return [
        *stays,
        """CREATE TRIGGER disclosures_stay BEFORE UPDATE ON disclosures
        FOR EACH ROW EXECUTE FUNCTION records_stay()""",
        """CREATE FUNCTION events_wait() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO unsealed (entry) VALUES (NEW.id); RETURN NULL; END $$""",
        "CREATE TRIGGER events_wait AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION events_wait()",
    ]


def upgrade() -> None:
    """The tables as they are at the first release. A later change of schema.py needs its own step and tables here."""
    connection = op.get_bind()
    metadata.create_all(connection)
    for statement in _sqlite() if connection.dialect.name == "sqlite" else _postgresql():
        op.execute(statement)
    op.execute("INSERT INTO tree (\"only\", size, frontier) VALUES (1, 0, '')")
