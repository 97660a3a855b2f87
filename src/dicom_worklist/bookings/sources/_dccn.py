"""The query of the DCCN booking calendar, in SQL that MySQL and SQLite both know."""

#: Rows of the days from :first_day to :last_day. A user who is missing is named by the login.
QUERY = """
SELECT item.id AS booking_id,
       item.project_id AS project_id,
       projects.projectName AS project_title,
       item.subj_ses AS subject_session,
       item.start_date AS start_date,
       item.start_time AS start_time,
       item.stop_time AS end_time,
       calendars.description AS lab,
       users.firstName AS user_first_name,
       COALESCE(NULLIF(users.lastName, ''), item.user_id) AS user_last_name,
       item.status AS status
  FROM calendar_items_new AS item
  LEFT JOIN calendars ON calendars.id = item.calendar_id
  LEFT JOIN projects ON projects.id = item.project_id
  LEFT JOIN users ON users.id = item.user_id
 WHERE item.start_date BETWEEN :first_day AND :last_day
 ORDER BY item.id
"""
#: The same for a calendar that has no column `stop_time`.
QUERY_WITHOUT_END = QUERY.replace("       item.stop_time AS end_time,\n", "")
