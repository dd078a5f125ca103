// Package notify tells people what happens: it reads events and statuses of the
// reconciler, decides which notices they are worth, keeps those in a queue that
// survives a restart, and delivers them to channels (the services that shoutrrr
// knows, and signed webhooks). It also sets the status of commits on git hosts,
// through its package forge. Nothing is decided here about what runs, nothing
// here ever blocks a pass, and no secret is in a notice. The shoutrrr library
// runs in child processes of this program, never in the daemon.
package notify
