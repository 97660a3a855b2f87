-- The DCCN calendar's tables, and what hardly changes in them; day.py makes the bookings.
CREATE TABLE IF NOT EXISTS projects (id TEXT PRIMARY KEY, projectName TEXT);
CREATE TABLE IF NOT EXISTS calendars (id INTEGER PRIMARY KEY, description TEXT);
CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, firstName TEXT, lastName TEXT);
CREATE TABLE IF NOT EXISTS calendar_items_new (
    id INTEGER PRIMARY KEY, project_id TEXT, calendar_id INTEGER, user_id TEXT, subj_ses TEXT,
    start_date TEXT, start_time TEXT, status TEXT
);
INSERT OR IGNORE INTO projects VALUES
    ('3010000.01', 'Language & memory: where words go'),
    ('3011020.09', 'Hören, Sehen, Fühlen – multisensory integration'),
    ('3014030.02', 'Sleep "replay" in the hippocampus'),
    ('3022051.01', 'The developing brain at 3T (longitudinal)'),
    ('3015046.04', 'Effects of expectation on perceived pain and its relief in healthy volunteers and patients');
INSERT OR IGNORE INTO calendars VALUES
    (1, 'Siemens PRISMA 3T'), (2, 'Prismafit'), (3, 'SKYRA'), (4, 'MEG lab'), (5, 'EEG lab 2');
INSERT OR IGNORE INTO users VALUES
    ('annjan', 'Anna', 'Jansen'), ('jurmul', 'Jürgen', 'Müller'), ('marvdb', 'Mariëtte', 'van den Berg'),
    ('siooco', 'Siobhán', 'O''Connor'), ('zofwoj', 'Zofia', 'Wójcik');
