// Package compose reads compose files into desired.Service values. It is the
// only importer of compose-go, and hides what that library takes from its
// surroundings: here nothing is read but the given file systems, no variable
// comes from the process, no path of the host decides anything. Docker, the
// network and the plan live elsewhere. What a compose file says and is not
// carried is told by the table in keys.go, which docs/compose.md prints.
package compose
