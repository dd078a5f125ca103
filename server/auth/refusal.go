package auth

import "time"

// Kind says what a refusal is about.
type Kind int

// The kinds of refusals.
const (
	Invalid  Kind = iota // what was sent cannot be taken
	Nobody               // nobody known asks
	Denied               // who asks may not
	Missing              // there is no such thing
	Conflict             // it does not fit what there is
	TooMany              // too often; RetryAfter says when to come again
)

// Refusal is an answer of no: what is wrong and what to do. It never holds a
// secret.
type Refusal struct {
	Kind       Kind
	Detail     string
	Hint       string
	RetryAfter time.Duration
	// Told says that the audit log has an entry about it.
	Told bool
}

func (r *Refusal) Error() string { return r.Detail }

func refuse(kind Kind, detail, hint string) *Refusal {
	return &Refusal{Kind: kind, Detail: detail, Hint: hint}
}
