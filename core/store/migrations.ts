/**
 * The schema, as numbered steps: each runs once, in order, in one transaction with its number.
 *
 * Steps are only ever appended. Times are Unix seconds with fraction; JSON columns hold what the
 * type named beside them says; a blob column holds the SHA-256 under which core/store/blobs keeps it.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE files (
    id TEXT PRIMARY KEY,
    filename TEXT NOT NULL,
    purpose TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    blob TEXT NOT NULL,
    created_at REAL NOT NULL
  ) STRICT;

  CREATE TABLE datasets (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    blob TEXT NOT NULL,
    records INTEGER NOT NULL,
    report TEXT NOT NULL, -- DataReport
    created_at REAL NOT NULL
  ) STRICT;

  CREATE TABLE documents (
    id TEXT PRIMARY KEY,
    filename TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    blob TEXT NOT NULL, -- the upload
    text_blob TEXT NOT NULL, -- DocumentText
    chunks_blob TEXT NOT NULL, -- Chunk[]
    pages INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    created_at REAL NOT NULL
  ) STRICT;

  CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('train', 'export')),
    plan TEXT NOT NULL, -- core/jobs/plan: Plan
    place TEXT, -- absolute path under which the result is published
    created_at REAL NOT NULL
  ) STRICT;
  CREATE INDEX jobs_by_place ON jobs (place, created_at);

  CREATE TABLE events (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    sequence INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    body TEXT NOT NULL, -- JobEventBody
    created_at REAL NOT NULL,
    PRIMARY KEY (job_id, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX events_by_type ON events (job_id, type, sequence);
  CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
  CREATE TRIGGER events_are_never_removed BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

  CREATE TABLE checkpoints (
    id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (id),
    step INTEGER NOT NULL,
    path TEXT NOT NULL,
    metrics TEXT NOT NULL,
    created_at REAL NOT NULL,
    UNIQUE (job_id, step)
  ) STRICT;

  CREATE TABLE models (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('adapter', 'merged')),
    job_id TEXT NOT NULL REFERENCES jobs (id),
    base TEXT NOT NULL, -- BaseModel: what an adapter lies over, what a merge was made from
    path TEXT NOT NULL,
    details TEXT NOT NULL,
    created_at REAL NOT NULL
  ) STRICT;

  CREATE TABLE names (
    name TEXT PRIMARY KEY, -- as the user wrote it
    place TEXT NOT NULL, -- where the symbolic link lies
    target TEXT NOT NULL, -- folder of the artefacts
    job_id TEXT NOT NULL REFERENCES jobs (id),
    created_at REAL NOT NULL
  ) STRICT;
  `,
];
