"""Extracts the stock of all warehouses, whole each time, as JSON lines.

Leave NAME.csv, NAME.ndjson or NAME.parquet in the directory that FAIRLEAD_OUT names, one for each table, and end with
exit code 0. What is printed is the log of the run.
"""
import json
import os

OUT = os.environ["FAIRLEAD_OUT"]

# Stands for a service. Replace fetch() by a request to yours; in the connector's file set network: true.
SAMPLE = {"north": {"apples": 120, "pears": 40}, "south": {"apples": 75}}


def fetch(warehouse):
    for product, pieces in SAMPLE.get(warehouse, {}).items():
        yield {"warehouse": warehouse, "product": product, "pieces": pieces}


def main():
    rows = 0
    with open(os.path.join(OUT, "stock.ndjson"), "w") as f:
        for warehouse in os.environ["WAREHOUSES"].split(","):
            for row in fetch(warehouse):
                f.write(json.dumps(row) + "\n")
                rows += 1
            print(f"{warehouse}: {rows} rows so far")
    with open(os.path.join(OUT, "_meta.json"), "w") as f:
        json.dump({"tables": {"stock": {"primary_key": ["warehouse", "product"], "rows": rows}}}, f)


main()
