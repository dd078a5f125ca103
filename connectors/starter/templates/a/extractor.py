"""Extracts orders: what is new since the last good run, as CSV.

The contract, in short:
  FAIRLEAD_OUT    a directory: leave NAME.csv, NAME.ndjson or NAME.parquet in it, one for each table
  FAIRLEAD_STATE  a file: what the last good run left in _state.json ({} at first)
  exit code       0 when all went well; then, and only then, the tables are published
  standard output the log of the run

Try it:  FAIRLEAD_OUT=$(mktemp -d) FAIRLEAD_STATE=/dev/null python3 extractor.py
"""
import csv
import json
import os

OUT = os.environ["FAIRLEAD_OUT"]
CURRENCY = os.environ.get("SHOP_CURRENCY", "EUR")

COLUMNS = {"id": "BIGINT", "placed_at": "TIMESTAMP", "amount": "DECIMAL(12,2)", "currency": "VARCHAR"}

# Stands for a service. Replace fetch() by a request to yours.
SAMPLE = [
    (1, "2026-01-05 09:12:00", "19.90"),
    (2, "2026-01-05 11:40:21", "7.50"),
    (3, "2026-01-06 08:03:59", "120.00"),
]


def fetch(since):
    """Yields the orders that came after the order `since`."""
    for order_id, placed_at, amount in SAMPLE:
        if order_id > since:
            yield {"id": order_id, "placed_at": placed_at, "amount": amount, "currency": CURRENCY}


def read_state():
    """Says up to where the last good run came, by table."""
    with open(os.environ["FAIRLEAD_STATE"]) as f:
        text = f.read()
    state = json.loads(text) if text.strip() else {}
    return state.get("tables", {})


def leave(name, value):
    with open(os.path.join(OUT, name), "w") as f:
        json.dump(value, f, indent=1)


def main():
    since = read_state().get("orders", {}).get("since", 0)
    rows = 0
    # The header is written even when nothing is new: a table without a file is a table that is gone.
    with open(os.path.join(OUT, "orders.csv"), "w", newline="") as f:
        out = csv.DictWriter(f, COLUMNS)
        out.writeheader()
        for order in fetch(since):
            out.writerow(order)
            since, rows = order["id"], rows + 1
    # "incremental": the file holds only what is new or changed, and is joined with what is there by the primary key.
    leave("_meta.json", {"tables": {"orders": {"primary_key": ["id"], "strategy": "incremental", "columns": COLUMNS}}})
    # In this form, by table, Fairlead keeps the part of a table that could not be published as it was.
    leave("_state.json", {"version": 1, "tables": {"orders": {"since": since}}})
    print(f"{rows} orders, up to {since}")


main()
