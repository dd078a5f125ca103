// Package jira is the built-in source for Jira Cloud (REST API 3) and Jira Data
// Center and Server (REST API 2): issues and what hangs on them, whole, by what was
// updated, or in parts of a month; and it checks the webhooks that say what changed.
// The protocol lives here; what becomes of the files does not.
package jira
