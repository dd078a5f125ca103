package auth

import (
	"net/netip"
	"time"
)

// User is a person, or a program that signs in as one.
type User struct {
	ID       string    `json:"id"`
	Email    string    `json:"email"` // normalised; unique
	Name     string    `json:"name,omitempty"`
	Role     Role      `json:"role"`
	Created  time.Time `json:"created_at"`
	Disabled bool      `json:"disabled,omitempty"`
	// Seen is when the user asked for something last, to the minute.
	Seen time.Time `json:"last_seen_at,omitzero"`
	// SignsIn says that there is a password.
	SignsIn bool `json:"signs_in"`
}

// Label is what commits and the audit log call the user.
func (u User) Label() string {
	if u.Name != "" {
		return u.Name
	}
	return u.Email
}

// Session is one sign-in; it ends by time, or when somebody ends it.
type Session struct {
	ID      string    `json:"id"`
	User    string    `json:"user_id"`
	Created time.Time `json:"created_at"`
	Expires time.Time `json:"expires_at"`
	Seen    time.Time `json:"last_seen_at,omitzero"`
	Address string    `json:"address,omitempty"` // that signed in
	Agent   string    `json:"agent,omitempty"`   // as the program called itself
	Current bool      `json:"current,omitempty"` // the one that asks
}

// Token is a personal access token without the secret, which only its owner has.
type Token struct {
	ID       string    `json:"id"`
	User     string    `json:"user_id"`
	Name     string    `json:"name"`
	Prefix   string    `json:"prefix"` // the first characters, to tell tokens apart
	Scopes   []string  `json:"scopes"` // none: all that the role allows
	Created  time.Time `json:"created_at"`
	Expires  time.Time `json:"expires_at,omitzero"` // zero: never
	Seen     time.Time `json:"last_used_at,omitzero"`
	SeenFrom string    `json:"last_used_ip,omitempty"`
}

// Visit is where a request comes from.
type Visit struct {
	Address netip.Addr // of the client; not valid on the unix socket
	Agent   string
	// Near says that it comes from this host itself, through no proxy that
	// is known of.
	Near bool
	// Secure says that the client speaks TLS, with us or with a proxy that
	// is trusted.
	Secure bool
	// Correlation ties together what one request brings about.
	Correlation string

	from, to netip.AddrPort // the ends of a connection by TCP; not valid where it is not known
}

// address is the client as it is written down.
func (v Visit) address() string {
	if !v.Address.IsValid() {
		return ""
	}
	return v.Address.String()
}
