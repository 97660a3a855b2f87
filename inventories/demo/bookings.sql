-- The DCCN calendar's tables, and a day as it may be. Bookings that are there already stay as they are.
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
INSERT OR IGNORE INTO calendar_items_new
SELECT CAST(strftime('%Y%m%d', :today) AS INTEGER) * 100 + day.column1, day.column2, day.column3, day.column4,
       day.column5, :today, day.column6, day.column7
  FROM (VALUES
    ( 1, '3010000.01', 1, 'annjan', '7-1',           '08:30:00', 'CONFIRMED'),
    ( 2, '3011020.09', 1, 'jurmul', '12 - 2',        '09:30:00', 'CONFIRMED'),
    ( 3, '3014030.02', 1, 'siooco', 'x2',            '11:00:00', 'TENTATIVE'),
    ( 4, '3022051.01', 1, 'marvdb', 'Cancellation',  '13:00:00', 'CONFIRMED'),
    ( 5, '3015046.04', 1, 'zofwoj', '31-1',          '14:30:00', 'CONFIRMED'),
    ( 6, '3010000.01', 1, 'annjan', '8-1',           '16:00:00', 'CANCELLED'),
    ( 7, '3011020.09', 2, 'jurmul', '13-1',          '08:45:00', 'CONFIRMED'),
    ( 8, '3022051.01', 2, 'marvdb', '104-3',         '10:00:00', 'CONFIRMED'),
    ( 9, '3014030.02', 2, 'gstguy', 'Undefined',     '12:15:00', 'TENTATIVE'),
    (10, '3010000.01', 2, 'annjan', '0',             '15:00:00', 'CONFIRMED'),
    (11, '3015046.04', 3, 'zofwoj', '30-2',          '09:00:00', 'CONFIRMED'),
    (12, '3022051.01', 3, 'marvdb', '105-1',         '10:30:00', 'CONFIRMED'),
    (13, '3010000.01', 3, 'siooco', '9-2',           '19:30:00', 'CONFIRMED'),
    (14, '3011020.09', 4, 'jurmul', '14-1',          '09:00:00', 'CONFIRMED'),
    (15, '3014030.02', 5, 'siooco', '3-1',           '10:00:00', 'CONFIRMED')
  ) AS day;
