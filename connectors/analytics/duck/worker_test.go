//go:build cgo

package duck

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

func TestChildAnswersQueries(t *testing.T) {
	h := newWarehouse(t)
	c := h.startWith(t)
	for _, test := range []struct{ sql, want string }{
		{"SELECT 1 AS one", "[1]\n"},
		{"SELECT count(*), sum(amount) FROM orders", "[1000,\"49500.00\"]\n"},
		{"SELECT o.id, c.name FROM shop.orders o JOIN crm.customers c USING (id) ORDER BY id LIMIT 2", "[0,\"c0\"]\n[1,\"c1\"]\n"},
		{"FROM orders SELECT \"at\", day, tags WHERE id = 3;", "[\"2026-01-01T00:00:03\",\"2026-01-04\",[\"a\",\"b\"]]\n"},
	} {
		reply, head, data, err := c.query(wire.Query{SQL: test.sql, Format: wire.FormatJSON})
		if err != nil || reply.Error != nil || data != test.want || head == nil {
			t.Errorf("%s: %q, %+v, %v\n%s", test.sql, data, reply.Error, err, c.log)
		}
	}
	_ = c.in.Close()
	if err := c.ends(t); err != nil {
		t.Errorf("at the end of its input: %v\n%s", err, strings.TrimSpace(c.log.String()))
	}
}
