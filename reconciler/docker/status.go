package docker

import (
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/reconciler"
)

// parseStatus reads the exit code and the health from the text that a list
// gives for a container ("Exited (137) 3 seconds ago", "Up 5 minutes
// (unhealthy)"). Lists have no typed field for them below API 1.52. Text that
// is not exactly of these forms tells nothing.
func parseStatus(s string) (exit int, health reconciler.Health) {
	switch {
	case strings.HasPrefix(s, "Exited ("), strings.HasPrefix(s, "Restarting ("):
		_, rest, _ := strings.Cut(s, "(")
		code, _, closed := strings.Cut(rest, ")")
		if n, err := strconv.Atoi(code); err == nil && closed {
			exit = n
		}
	case strings.HasPrefix(s, "Up "):
		open := strings.LastIndexByte(s, '(')
		if open < 0 || !strings.HasSuffix(s, ")") {
			return 0, ""
		}
		health = parseHealth(strings.TrimPrefix(s[open+1:len(s)-1], "health: "))
	}
	return exit, health
}

func parseHealth(s string) reconciler.Health {
	switch h := reconciler.Health(s); h {
	case reconciler.HealthStarting, reconciler.HealthHealthy, reconciler.HealthUnhealthy:
		return h
	}
	return ""
}
