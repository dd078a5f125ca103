package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// noOperation stands for what no operation took: pages and wrong paths.
const noOperation = "none"

// traffic counts what is asked of the daemon. Every label has few values.
type traffic struct {
	requests, refusals, queries *prometheus.CounterVec
	took, queryTook             *prometheus.HistogramVec
}

func newTraffic() traffic {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "fairlead", Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "fairlead", Name: name, Help: help, Buckets: bounds}, labels)
	}
	t := traffic{
		requests: counter("http_requests_total", "Requests answered, by operation of the API and status.", "operation", "status"),
		took: histogram("http_request_duration_seconds", "Time to answer a request that is not a stream.",
			[]float64{.001, .005, .025, .1, .5, 2.5, 10, 60}, "operation"),
		refusals: counter("auth_refusals_total", "Requests refused: nobody known asked, their role does not allow it, or they came too often.", "reason"),
		queries:  counter("queries_total", "Statements over data, by what came of them.", "instance", "outcome"),
		queryTook: histogram("query_duration_seconds", "Time of a statement over data, the wait for a worker included.",
			[]float64{.005, .025, .1, .5, 1, 2.5, 10, 30, 60}, "instance"),
	}
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests} {
		t.refusals.WithLabelValues(refusal(status)) // so that the first one is an increase
	}
	return t
}

func (t traffic) collectors() []prometheus.Collector {
	return []prometheus.Collector{t.requests, t.refusals, t.queries, t.took, t.queryTook}
}

func (t traffic) saw(c *visit, status int, took time.Duration) {
	name := c.operation
	if name == "" {
		name = noOperation
	}
	t.requests.WithLabelValues(name, strconv.Itoa(status)).Inc()
	if !c.endless {
		t.took.WithLabelValues(name).Observe(took.Seconds())
	}
	if reason := refusal(status); reason != "" {
		t.refusals.WithLabelValues(reason).Inc()
	}
}

// refusal is why a status means that somebody was not let in; empty: it does not.
func refusal(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "unauthenticated"
	case http.StatusForbidden:
		return "forbidden"
	case http.StatusTooManyRequests:
		return "limited"
	}
	return ""
}

// queried counts a statement over the data of an instance that there is.
func (t traffic) queried(instance string, err error, took time.Duration) {
	t.queries.WithLabelValues(instance, queryOutcome(err)).Inc()
	t.queryTook.WithLabelValues(instance).Observe(took.Seconds())
}

func queryOutcome(err error) string {
	if err == nil {
		return "ok"
	}
	switch AsError(err).Status {
	case http.StatusForbidden:
		return "refused"
	case http.StatusGatewayTimeout:
		return "timeout"
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return "busy"
	case http.StatusInternalServerError:
		return "failed"
	}
	return "invalid" // the statement is at fault
}
