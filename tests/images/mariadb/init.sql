CREATE DATABASE fcdc CHARACTER SET utf8mb4;
CREATE TABLE fcdc.projects (id VARCHAR(20) PRIMARY KEY, projectName TEXT);
CREATE TABLE fcdc.calendars (id INT PRIMARY KEY, description VARCHAR(255));
CREATE TABLE fcdc.users (id VARCHAR(20) PRIMARY KEY, firstName VARCHAR(255), lastName VARCHAR(255));
CREATE TABLE fcdc.calendar_items_new (id INT AUTO_INCREMENT PRIMARY KEY, project_id VARCHAR(20), calendar_id INT, user_id VARCHAR(20), subj_ses VARCHAR(255), start_date DATE, start_time TIME, status VARCHAR(20), KEY (start_date));
CREATE USER dicomdf IDENTIFIED BY 'the-password-of-the-tests';
GRANT SELECT ON fcdc.* TO dicomdf;
CREATE USER tests IDENTIFIED BY 'the-password-of-the-tests';
GRANT ALL ON *.* TO tests WITH GRANT OPTION;
