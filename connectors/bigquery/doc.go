// Package bigquery reads BigQuery by its REST API: it lists datasets and tables,
// copies rows of tables and results of queries as JSON lines, and names tables
// that stay there. What a query may cost is bounded here; who asks, and how
// attached tables are read, is elsewhere.
package bigquery
