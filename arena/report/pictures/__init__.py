"""The figures of a report, drawn by matplotlib: for the page, and as SVG and PDF for a paper."""
