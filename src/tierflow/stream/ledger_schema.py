"""The tables of the ledger, an SQLite file that says of every object of a stream where it stands."""

from __future__ import annotations

VERSION = 1

SCHEMA = """
CREATE TABLE objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- order of first sight
    path BLOB NOT NULL UNIQUE,              -- relative to the input, the file system's own bytes
    folder BLOB NOT NULL,                   -- the part before the last '/', empty for the input itself
    object_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,     -- 2 when the file was written again after it had been handled
    size INTEGER NOT NULL,                  -- bytes, when last looked at
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    is_link INTEGER NOT NULL DEFAULT 0,
    closed INTEGER NOT NULL DEFAULT 0,      -- closed by its writer, or renamed into place, with this size and time
    seen_at REAL NOT NULL,                  -- of this version; seconds since 1970, as all times here
    changed_at REAL NOT NULL,               -- when size or time of change were last seen to be different
    ready_at REAL,                          -- null: not judged as it is now, such as changed while it was running
    not_before REAL NOT NULL DEFAULT 0,     -- no look or attempt before this time
    ended_at REAL,
    attempts INTEGER NOT NULL DEFAULT 0,    -- attempts of this version that failed
    cohort INTEGER,                         -- failed together: the parts of a batch that is being halved
    unit TEXT,                              -- objects of the same unit are handled in the same batch; null: alone
    incomplete INTEGER NOT NULL DEFAULT 0,  -- released although others of its unit, or parts of it, are missing
    missing TEXT,                           -- what was missing then, in words; unlike `reason`, it stays
    priority INTEGER NOT NULL DEFAULT 0,
    tag TEXT,
    reason TEXT,                            -- why it waits, failed, or is quarantined, in words
    shard INTEGER,                          -- of the run's tables; stays for all versions
    batch INTEGER,                          -- the batch that handles it now, or did last
    tier TEXT,
    interestingness REAL,
    handled_size INTEGER,                   -- of the version in the catalogue
    handled_mtime_ns INTEGER
);
CREATE INDEX by_turn ON objects (state, priority DESC, ready_at, id);
CREATE INDEX by_due ON objects (state, not_before);
CREATE INDEX by_folder ON objects (folder);
CREATE INDEX by_batch ON objects (batch);
CREATE INDEX by_unit ON objects (unit) WHERE unit IS NOT NULL;
CREATE INDEX by_end ON objects (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE counts (state TEXT PRIMARY KEY, n INTEGER NOT NULL);
CREATE TRIGGER counted AFTER INSERT ON objects BEGIN
    INSERT INTO counts VALUES (NEW.state, 1) ON CONFLICT (state) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER recounted AFTER UPDATE OF state ON objects WHEN OLD.state <> NEW.state BEGIN
    UPDATE counts SET n = n - 1 WHERE state = OLD.state;
    INSERT INTO counts VALUES (NEW.state, 1) ON CONFLICT (state) DO UPDATE SET n = n + 1;
END;

CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    shard INTEGER NOT NULL,
    stage TEXT NOT NULL,                    -- measuring, recording, done, given_up
    objects INTEGER NOT NULL,
    began_at REAL NOT NULL,
    ended_at REAL,
    measured_at REAL,
    worker INTEGER,                         -- process that measures it
    beat_at REAL,                           -- when that was last heard of
    problem TEXT
);
CREATE INDEX batches_by_stage ON batches (stage);

-- What is known of the stream as a whole: one JSON value per name.
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL, at REAL NOT NULL);

-- What people ask of the watching process, from other processes.
CREATE TABLE requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    by TEXT NOT NULL,
    name TEXT NOT NULL,
    arguments TEXT NOT NULL,
    done_at REAL,
    answer TEXT
);

-- News for the live view and for hooks, the latest ones.
CREATE TABLE news (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    object INTEGER,
    detail TEXT NOT NULL
);

-- Sites, wells, plates or time points that are gathered, or were, until all their members are there.
CREATE TABLE series (
    key TEXT PRIMARY KEY,
    plate TEXT NOT NULL,                    -- key of the plate: its series learn from each other
    name TEXT NOT NULL,                     -- for people, such as `B03 site 2`
    due_at REAL                             -- released then as it is; null: it was released
) WITHOUT ROWID;
CREATE INDEX series_by_due ON series (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX series_by_plate ON series (plate) WHERE due_at IS NOT NULL;

-- Complete files that wait for the others of their series.
CREATE TABLE members (
    object INTEGER PRIMARY KEY,
    series TEXT NOT NULL,
    slot TEXT NOT NULL,                     -- JSON list: well, site, channel, z, time point
    unit TEXT,
    missing TEXT,                           -- what the file itself lacks
    changed_at REAL NOT NULL                -- of the object, when it became a member: it is one as long as that holds
);
CREATE INDEX members_by_series ON members (series);

-- Which members complete series of a plate had.
CREATE TABLE learned (plate TEXT NOT NULL, slot TEXT NOT NULL, PRIMARY KEY (plate, slot)) WITHOUT ROWID;

-- Which object has shown these pixels first.
CREATE TABLE pixels (hash TEXT PRIMARY KEY, object INTEGER NOT NULL) WITHOUT ROWID;
"""
