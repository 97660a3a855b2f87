"""A month at a site of eight scanners, invented with the truth of each session, to judge what is reported of it.

`truth` has the words, `plot` the days and their free time, `sessions`, `console_errors`, `calendar_changes` and
`strangers` what may happen, `month` the whole; `console` is the client of a scanner, `world` plays the month against
the real services, `judge` compares what was reported with the truth.
"""
