package verify

import (
	"net/http"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// The names under which DefaultSteps wants the credentials, as secrets.
const (
	EmailSecret    = "FAIRLEAD_SMOKE_EMAIL"
	PasswordSecret = "FAIRLEAD_SMOKE_PASSWORD"
)

// TokenVariable is the variable in which DefaultSteps keeps the bearer token.
const TokenVariable = "token"

// Defaults say how the built-in sequence is made.
type Defaults struct {
	// Token says that TokenVariable is known from the start, so that nobody
	// has to log in.
	Token bool
	// Wait is the pause before the last look at the health.
	Wait time.Duration
	// Retries is how often a step is tried again after a fault of the
	// infrastructure. Each of the steps may be made twice.
	Retries int
}

// DefaultSteps is the built-in sequence for an application with the API that
// Fairlead's own daemon has: health, version, first administrator, token,
// query, sync, and health again.
//
// Making the first administrator is a step of its own because its answer 403
// (there is one) is as good as 200; either way the credentials must then give a
// token.
func DefaultSteps(d Defaults) []Step {
	credentials := map[string]any{"email": "${secret:" + EmailSecret + "}", "password": "${secret:" + PasswordSecret + "}"}
	healthy := map[string]any{"status": map[string]any{"not": "unhealthy"}}
	present := map[string]any{"exists": true}
	pause := desired.Duration(d.Wait)
	steps := Steps([]desired.SmokeStep{
		{Name: "health", Get: "/api/health", Expect: &desired.Expect{Status: http.StatusOK, JSON: healthy}},
		{Name: "version", Get: "/api/health", Expect: &desired.Expect{Status: http.StatusOK,
			JSON: map[string]any{"version": present, "channel": present, "schema_version": present}}},
		{Name: "bootstrap", Post: "/auth/bootstrap", Body: credentials,
			Expect: &desired.Expect{StatusIn: []int{http.StatusOK, http.StatusForbidden}}},
		{Name: "token", Post: "/auth/token", Body: credentials, Save: map[string]string{TokenVariable: "access_token"},
			Expect: &desired.Expect{Status: http.StatusOK}},
		{Name: "query", Post: "/api/query", Bearer: TokenVariable, Body: map[string]any{"sql": "SELECT 1"},
			Expect: &desired.Expect{Status: http.StatusOK, JSON: map[string]any{"rows": map[string]any{"minItems": 1}}}},
		{Name: "sync", Post: "/api/sync/trigger", Bearer: TokenVariable,
			Expect: &desired.Expect{StatusIn: []int{http.StatusOK, http.StatusAccepted, http.StatusConflict}}},
		{Name: "health-after", Get: "/api/health", Wait: &pause, Expect: &desired.Expect{Status: http.StatusOK, JSON: healthy}},
	})
	for i := range steps {
		steps[i].Retries = &d.Retries
		if d.Token && (steps[i].Name == "bootstrap" || steps[i].Name == "token") {
			steps[i].Skip = "a token was given"
		}
	}
	return steps
}
