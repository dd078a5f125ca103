package docker

import "strings"

// Some answers of the engine have no type of their own, only a text.

func notConnected(err error) bool { return strings.Contains(err.Error(), "is not connected to") }

func alreadyConnected(err error) bool {
	s := err.Error()
	return strings.Contains(s, "already exists in network") || strings.Contains(s, "already attached to network")
}

func notRunning(err error) bool { return strings.Contains(err.Error(), "is not running") }

func notPaused(err error) bool { return strings.Contains(err.Error(), "is not paused") }

func beingRemoved(err error) bool {
	s := err.Error()
	return strings.Contains(s, "is already in progress") || strings.Contains(s, "is marked for removal")
}
