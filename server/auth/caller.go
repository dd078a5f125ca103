package auth

import (
	"context"
	"slices"
)

// Role is what somebody may do; each includes those below it.
type Role string

// The roles, the least first. A viewer sees, an analyst asks data as well, an
// administrator changes things.
const (
	RoleViewer  Role = "viewer"
	RoleAnalyst Role = "analyst"
	RoleAdmin   Role = "admin"
)

// Roles lists them, the least first.
func Roles() []Role { return []Role{RoleViewer, RoleAnalyst, RoleAdmin} }

// Allows reports whether a role is at least the one that is needed. What is no
// role allows nothing.
func (r Role) Allows(need Role) bool {
	have, want := slices.Index(Roles(), r), slices.Index(Roles(), need)
	return want >= 0 && have >= want
}

// The ways in which somebody comes.
const (
	ViaSocket  = "socket"  // the unix socket: whoever may open it is root here
	ViaSession = "session" // somebody who signed in
	ViaToken   = "token"   // a personal access token
)

// Caller is who asks for something.
type Caller struct {
	ID      string // of the user; empty on the socket
	Email   string
	Name    string // as commits and the audit log show it
	Role    Role
	Via     string
	Session string   // id of the session or of the token
	Scopes  []string // of a token; none: all that the role allows
}

type callerKey struct{}

// With notes who asks.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// From returns who asks; false when nobody is known.
func From(ctx context.Context) (Caller, bool) {
	c, known := ctx.Value(callerKey{}).(Caller)
	return c, known
}
