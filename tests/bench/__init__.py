"""Speed, as ratios: each thing of ours and the stock thing in turn, in one run. `make bench` runs it;
`python -m bench --only growth`, in the folder tests, only the PACS as it fills; `--help` says what else there is.

Each figure is the median of several pairs, A B A B …, of whole processes; a ratio is that of the pairs.
The test site must not be in use: it is deployed for this, and taken away.
"""
