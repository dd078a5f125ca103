package acme

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/sirupsen/logrus"
)

// Options are the settings of a Manager. Dir and Issued are required; the zero
// value of every other one is its default.
type Options struct {
	Log *logrus.Entry // nil: nothing is logged
	// Dir keeps accounts, pairs and what is remembered of attempts. It is made
	// with mode 0700.
	Dir string
	// Issued is handed each pair that is new to this process, also the one that
	// lies on disk at the start. An error means that it was not taken; it is
	// handed over again with the next pass. Calls for one name do not overlap.
	Issued func(context.Context, Pair) error

	// AllowHost says whether the host of an authority may be asked; nil: all may.
	AllowHost func(host string) error
	// Proxy is what HTTP requests to authorities go through; nil: none, also
	// not that of the environment.
	Proxy func(*http.Request) (*url.URL, error)

	// Every is the time between two looks at the clock: 1 min, or a twentieth of
	// the shortest life of a certificate if that is less.
	Every        time.Duration
	OrderTimeout time.Duration // of one order, with its challenges; 10 min
	// Backoff is how long to wait after the first failure in a row, the second,
	// and so on; the last one stays. 1, 2, 5 and 15 min, 1 and 6 h.
	Backoff []time.Duration
	// Orders is how many orders one certificate may begin in a week; 50, or
	// three times what its life needs if that is more.
	Orders   int
	Parallel int // orders at a time; 4
}

func (o *Options) fill() {
	if o.Log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		o.Log = logrus.NewEntry(l)
	}
	if o.Every <= 0 {
		o.Every = time.Minute
	}
	if o.OrderTimeout <= 0 {
		o.OrderTimeout = 10 * time.Minute
	}
	if len(o.Backoff) == 0 {
		o.Backoff = []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour}
	}
	if o.Orders <= 0 {
		o.Orders = 50
	}
	if o.Parallel <= 0 {
		o.Parallel = 4
	}
}

// Pair is a certificate with its key.
type Pair struct {
	Name     string // of the Request
	Chain    []byte // PEM, leaf first
	Key      []byte // PEM, PKCS #8
	Issuer   string // the directory that issued it
	Profile  string
	Issued   time.Time
	NotAfter time.Time
	// RenewAt is when its successor is ordered, as far as is known by now.
	RenewAt time.Time
	// Window is the one that the authority suggests, or nil.
	Window *Window
}

// Window is when an authority wants a certificate to be renewed (RFC 9773).
type Window struct {
	Start, End  time.Time
	Explanation string // the address of a page that says why, or empty
}
