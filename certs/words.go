package certs

import (
	"maps"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// The reasons of events. They are stable.
const (
	ReasonPublished    = "CertificatePublished"
	ReasonRolledBack   = "CertificateRolledBack"
	ReasonSelfSigned   = "CertificateSelfSigned"
	ReasonRequest      = "CertificateRequestMade"
	ReasonRefused      = "CertificateRefused"
	ReasonKeyLeaked    = "CertificateKeyLeaked"  // an alarm
	ReasonKeyExposed   = "CertificateKeyExposed" // an alarm
	ReasonStaged       = "CertificateStaged"
	ReasonFetchFailed  = "CertificateFetchFailed"
	ReasonOrderFailed  = "CertificateOrderFailed"
	ReasonNotServed    = "CertificateNotServed"
	ReasonServed       = "CertificateServed"
	ReasonDrift        = "CertificateDrift"
	ReasonExpiring     = "CertificateExpiring"
	ReasonExpired      = "CertificateExpired"
	ReasonProblem      = "CertificateProblem"
	ReasonForgotten    = "CertificateForgotten"
	ReasonClockSuspect = "ClockSuspect"
	ReasonClockTrusted = "ClockTrusted"
)

// The kinds of reports that are made once until something else is to be said.
const (
	kindFetch   = "fetch"
	kindRefused = "refused"
	kindOrder   = "order"
	kindServed  = "served"
	kindStaged  = "staged"
	kindSkew    = "skew"
)

// sourceOf says for people where a certificate comes from.
func sourceOf(s desired.CertificateSpec) string {
	switch modeOf(s) {
	case byACME:
		if len(s.ACME.Issuers) > 0 {
			return s.ACME.Issuers[0].Directory
		}
		return "ACME"
	case selfSigned:
		return fallbackSelfSigned
	}
	ref, err := source.Parse(s.Fullchain)
	if err != nil {
		scheme, _, _ := strings.Cut(s.Fullchain, "://")
		return scheme + "://…"
	}
	return ref.String()
}

// schemeOf is a label of metrics.
func schemeOf(ref string) string {
	r, err := source.Parse(ref)
	if err != nil {
		return "invalid"
	}
	return r.Scheme()
}

// flat are problems as they are remembered.
func flat(ps pair.Problems) []pair.Problem {
	out := make([]pair.Problem, len(ps))
	for i, p := range ps {
		out[i] = *p
	}
	return out
}

// public are problems as they are shown.
func public(ps []pair.Problem) []reconciler.CertificateProblem {
	var out []reconciler.CertificateProblem
	for _, p := range ps {
		out = append(out, reconciler.CertificateProblem{Code: string(p.Code), Found: p.Found, Expected: p.Expected, Hint: p.Hint})
	}
	return out
}

func sortedSteps(m map[step]string) []step { return slices.Sorted(maps.Keys(m)) }
