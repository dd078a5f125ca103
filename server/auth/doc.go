// Package auth knows the people of a daemon: users with their passwords and
// roles, the sessions and personal access tokens that stand for them, the setup
// that makes the first administrator, and the audit log of who did what. It
// keeps them in a bucket of its own. It speaks no HTTP beyond reading who asks
// from a request, and knows nothing of what is asked for.
package auth
