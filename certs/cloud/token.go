package cloud

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Token is what a token service answers (RFC 6749, 5.1).
type Token struct {
	Value string  `json:"access_token"`
	Life  Seconds `json:"expires_in"`
}

// Seconds are a time to live. Azure's VM sends the number as a text.
type Seconds int64

// UnmarshalJSON reads a whole number, or a text of one.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	n, err := strconv.ParseInt(strings.Trim(string(text), `"`), 10, 64)
	if err != nil {
		return errors.New("a time to live is no number of seconds")
	}
	*s = Seconds(n)
	return nil
}

// Until is when a token ends that was given now, a day later at most. The error is
// of one that cannot be sent.
func (t Token) Until(now time.Time) (time.Time, error) {
	if t.Value == "" || strings.ContainsFunc(t.Value, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return now, errors.New("the answer holds no token")
	}
	return now.Add(time.Duration(min(max(t.Life, 0), 86400)) * time.Second), nil
}
